//! Payouts: what nodes have earned, turned into money. The server's owner sends it and says so.

use chrono::{DateTime, SecondsFormat, Utc};
use common::ids::{RequestId, UserId, WorkspaceId};
use common::money::wallet_request::{PayoutState, State as _};
use serde::Serialize;
use utoipa::ToSchema;

use super::amount::Amount;
use super::booking_failed;
use super::owner::server_owner;
use super::requests::{self, LIST, STEP, TERMS, read_step, read_terms};
use crate::api::bytenite::lists::page::{LIMIT, OFFSET, Page, Paged};
use crate::api::bytenite::words;
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, get, post};
use crate::app::App;
use crate::clock;
use crate::coordinator::{self, Booking, BookingRefused};
use crate::error::{Error, Result};
use crate::maintenance::earnings::payable_at;
use crate::store::money::statement;
use crate::store::money::wallet_requests as kept;
use crate::store::money::wallet_requests::{Request, Whose};

pub fn routes() -> Vec<Route> {
    vec![
        post("Wallet_Payout", "/payout", ask)
            .creates()
            .summary("Asks for earnings to be paid out; their credits are set aside at once")
            .body(TERMS),
        get("Wallet_GetPayoutHistory", "/payout_history", history)
            .summary("Lists the workspace's payouts, newest first")
            .query(vec![LIMIT, OFFSET]),
        get("Wallet_ListPayouts", "/payouts", list)
            .summary("Lists payouts, newest first")
            .query(LIST),
        post("Wallet_MovePayout", "/payouts/{id}/state", step)
            .summary("Says where a payout stands; for the server's owner")
            .body(STEP),
    ]
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AskedOut {
    payout_request: PayoutOut,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct HistoryOut {
    #[schema(value_type = String)]
    account_id: WorkspaceId,
    payout_requests: Vec<PayoutOut>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PayoutOut {
    #[schema(value_type = String)]
    id: RequestId,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// The user who asked.
    #[schema(value_type = String)]
    owner_id: UserId,
    #[schema(value_type = String)]
    account_id: WorkspaceId,
    payout_profile_id: &'static str,
    /// Credits.
    amount: Amount,
    currency: String,
    currency_amount: String,
    /// The price of one credit when it was asked for, which it keeps.
    exchange_rate: Amount,
    #[schema(value_type = words::PayoutState)]
    state: &'static str,
    /// What was said with the last change of state.
    note: String,
    sent_at: Option<DateTime<Utc>>,
    confirmed_at: Option<DateTime<Utc>>,
}

async fn ask(mut call: Call) -> Result<AskedOut> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let terms = read_terms(call.app(), &mut body)?;
    body.finish()?;
    let app = call.app();
    let least = app.settings.wallet.payout_min;
    if terms.amount < least {
        let problem = format!("must be at least {least} credits");
        return Err(Error::field("amount", problem + &pending(app, caller.workspace).await?));
    }
    let id = RequestId::new(idempotency::new_id(&call, &caller, &bytes).await?.id);
    let request =
        Request::new(id, caller.workspace, caller.user, terms, PayoutState::New, clock::now());
    match app.coordinator.book(Booking::Payout(request)).await {
        Err(coordinator::Error::Booking(refused @ BookingRefused::Payout { .. })) => {
            let pending = pending(app, caller.workspace).await?;
            let problem = format!("amount: {refused}{pending}");
            return Err(Error::Blocked("INSUFFICIENT_CREDITS", problem));
        }
        booked => booked.map_err(booking_failed)?,
    }
    let made = kept::find_own::<PayoutState>(&app.db, caller.workspace, id).await?;
    let made = made.ok_or_else(|| Error::not_found("payout", &id.to_string()))?;
    Ok(AskedOut { payout_request: made.into() })
}

/// What a refusal says of earnings that are still to come; empty where none are.
async fn pending(app: &App, owner: WorkspaceId) -> Result<String> {
    let amount = statement::balance(&app.db, owner).await?.pending;
    let Some(pending) = statement::pending(&app.db, owner).await?.filter(|_| !amount.is_zero())
    else {
        return Ok(String::new());
    };
    let delay = app.settings.wallet.earnings_delay();
    let time = |at| payable_at(at, delay).to_rfc3339_opts(SecondsFormat::Secs, true);
    let (first, last) = (time(pending.first), time(pending.last));
    let when = if first == last { first } else { format!("{first}, all of it by {last}") };
    Ok(format!("; {amount} credits are pending: they can be paid out from {when}"))
}

async fn history(call: Call) -> Result<HistoryOut> {
    let caller = call.caller().await?;
    let page = Page::read(&call.query()?)?;
    let (whose, db) = (Whose::Own(caller.workspace), &call.app().db);
    let (found, _) = kept::list(db, whose, &[], page.offset, page.limit).await?;
    let payout_requests = found.into_iter().map(PayoutOut::from).collect();
    Ok(HistoryOut { account_id: caller.workspace, payout_requests })
}

async fn list(call: Call) -> Result<Paged<PayoutOut>> {
    requests::listed::<PayoutState, _>(&call).await
}

async fn step(id: Segment, mut call: Call) -> Result<AskedOut> {
    server_owner(&call).await?;
    let id = id.id::<RequestId>("payout")?;
    let (to, note) = read_step::<PayoutState>(&mut call).await?;
    let app = call.app();
    app.coordinator.book(Booking::PayoutStep { id, to, note }).await.map_err(booking_failed)?;
    let moved = kept::find::<PayoutState>(&app.db, id).await?;
    let moved = moved.ok_or_else(|| Error::not_found("payout", &id.to_string()))?;
    Ok(AskedOut { payout_request: moved.into() })
}

impl From<Request<PayoutState>> for PayoutOut {
    fn from(request: Request<PayoutState>) -> Self {
        Self {
            id: request.id,
            created_at: request.created_at,
            updated_at: request.updated_at,
            owner_id: request.asker,
            account_id: request.workspace,
            payout_profile_id: "",
            amount: Amount::of(request.terms.amount),
            currency: request.terms.currency.to_string(),
            currency_amount: request.terms.money.to_string(),
            exchange_rate: Amount::exact(request.terms.rate),
            state: request.state.as_str(),
            note: request.note,
            sent_at: request.sent_at,
            confirmed_at: request.confirmed_at,
        }
    }
}

#[cfg(test)]
mod tests;
