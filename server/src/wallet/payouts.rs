//! Payouts: what nodes have earned, turned into money. The server's owner sends it and says so.

use chrono::{DateTime, SecondsFormat, Utc};
use common::ids::RequestId;
use common::money::currency::Terms;
use common::money::wallet_request::PayoutState;

use super::balance;
use super::balance::PendingEarnings;
use super::requests::{self, Kind, Request};
use crate::app::App;
use crate::coordinator::{self, Booking, BookingRefused};
use crate::error::{Error, Result};
use crate::people::caller::Caller;

impl Kind for PayoutState {
    const NAME: &'static str = "payout";
    const NEW: Self = Self::New;

    fn ask(request: Request<Self>) -> Booking {
        Booking::Payout(request)
    }

    fn step(id: RequestId, to: Self, note: String) -> Booking {
        Booking::PayoutStep { id, to, note }
    }
}

/// Asks for earnings to be paid out; their credits are set aside at once.
///
/// # Errors
/// `Invalid` where it is less than the server pays out, and `Blocked` where it is more than can be
/// paid out now.
pub async fn ask(
    app: &App,
    caller: &Caller,
    id: RequestId,
    terms: Terms,
) -> Result<Request<PayoutState>> {
    let least = app.settings.wallet.payout_min;
    if terms.amount < least {
        let pending = pending(app, caller).await?;
        return Err(Error::Invalid(format!("must be at least {least} credits{pending}")));
    }
    match app.coordinator.book(PayoutState::ask(requests::new(caller, id, terms))).await {
        Err(coordinator::Error::Booking(refused @ BookingRefused::Payout { .. })) => {
            let problem = refused.to_string() + &pending(app, caller).await?;
            return Err(Error::Blocked("INSUFFICIENT_CREDITS", problem));
        }
        booked => booked?,
    }
    requests::find(app, caller, id).await
}

/// What a refusal says of earnings that are still to come; empty where there are none.
async fn pending(app: &App, caller: &Caller) -> Result<String> {
    let balance = balance::find(app, caller).await?;
    let pending = balance::pending_earnings(app, caller, &balance).await?;
    let Some(PendingEarnings { amount, payable_from, payable_until }) = pending else {
        return Ok(String::new());
    };
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let (first, last) = (time(payable_from), time(payable_until));
    let when = if first == last { first } else { format!("{first}, all of it by {last}") };
    Ok(format!("; {amount} credits are pending: they can be paid out from {when}"))
}
