//! Top-ups: credits that are bought. No payment provider is connected, so the server's owner
//! confirms what has been paid.

use common::ids::RequestId;
use common::money::currency::Terms;
use common::money::wallet_request::TopUpState;

use super::requests::{self, Kind, Request};
use crate::app::App;
use crate::coordinator::Booking;
use crate::error::Result;
use crate::people::caller::Caller;

impl Kind for TopUpState {
    const NAME: &'static str = "top-up";
    const NEW: Self = Self::New;

    fn ask(request: Request<Self>) -> Booking {
        Booking::TopUp(request)
    }

    fn step(id: RequestId, to: Self, note: String) -> Booking {
        Booking::TopUpStep { id, to, note }
    }
}

/// Asks for credits, which come when they are paid for.
///
/// # Errors
/// `Blocked` where too many wait to be paid.
pub async fn ask(
    app: &App,
    caller: &Caller,
    id: RequestId,
    terms: Terms,
) -> Result<Request<TopUpState>> {
    app.coordinator.book(TopUpState::ask(requests::new(caller, id, terms))).await?;
    requests::find(app, caller, id).await
}

/// Cancels a top-up of the caller's workspace that is not paid.
pub async fn cancel(
    app: &App,
    caller: &Caller,
    id: RequestId,
    note: String,
) -> Result<Request<TopUpState>> {
    requests::find::<TopUpState>(app, caller, id).await?;
    app.coordinator.book(TopUpState::step(id, TopUpState::Canceled, note)).await?;
    requests::find(app, caller, id).await
}
