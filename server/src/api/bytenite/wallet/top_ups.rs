//! Top-ups: credits that are bought. No payment provider is connected, so the server's owner
//! confirms what has been paid.

use chrono::{DateTime, Utc};
use common::ids::{RequestId, UserId, WorkspaceId};
use common::money::wallet_request::{State, TopUpState};
use serde::Serialize;
use utoipa::ToSchema;

use super::amount::Amount;
use super::booking_failed;
use super::owner::server_owner;
use super::requests::{self, LIST, NOTE_CHARS_MAX, STEP, TERMS, read_step, read_terms};
use crate::api::bytenite::lists::page::Paged;
use crate::api::bytenite::wire::{Done, done};
use crate::api::bytenite::words;
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::text;
use crate::clock;
use crate::coordinator::Booking;
use crate::error::{Error, Result};
use crate::store::money::wallet_requests as kept;
use crate::store::money::wallet_requests::{Request, Whose};

/// Top-ups of one workspace that wait to be paid.
const OPEN_MAX: u64 = 20;

pub fn routes() -> Vec<Route> {
    vec![
        post("Wallet_TopUp", "/top_up", ask)
            .creates()
            .summary("Asks for credits, which come when they are paid for")
            .body(TERMS),
        post("Wallet_CancelTopUp", "/cancel_top_up", cancel)
            .summary("Takes a top-up back that is not paid")
            .body(vec![text("id", "").required(), text("cancelMessage", "")]),
        get("Wallet_ListTopUps", "/top_ups", list)
            .summary("Lists top-ups, newest first")
            .query(LIST),
        post("Wallet_MoveTopUp", "/top_ups/{id}/state", step)
            .summary("Says that a top-up is PENDING, CONFIRMED or FAILED; for the server's owner")
            .body(STEP),
    ]
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AskedOut {
    top_up_request: TopUpOut,
    /// Empty: there is no payment provider that would take it.
    client_secret: &'static str,
    /// Empty: cards are not kept.
    card_details: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MovedOut {
    top_up_request: TopUpOut,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TopUpOut {
    #[schema(value_type = String)]
    id: RequestId,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// The user who asked.
    #[schema(value_type = String)]
    owner_id: UserId,
    #[schema(value_type = String)]
    account_id: WorkspaceId,
    billing_profile_id: &'static str,
    /// Credits.
    amount: Amount,
    currency: String,
    currency_amount: String,
    /// The price of one credit when it was asked for, which it keeps.
    exchange_rate: Amount,
    #[schema(value_type = words::TopUpState)]
    state: &'static str,
    /// What was said with the last change of state.
    note: String,
    confirm_immediately: bool,
    topup_type: &'static str,
    should_downgrade_tier: bool,
    should_recover_completely: bool,
}

async fn ask(mut call: Call) -> Result<AskedOut> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let terms = read_terms(call.app(), &mut body)?;
    body.finish()?;
    let id = RequestId::new(idempotency::new_id(&call, &caller, &bytes).await?.id);
    let request =
        Request::new(id, caller.workspace, caller.user, terms, TopUpState::New, clock::now());
    let db = &call.app().db;
    let open = [TopUpState::New, TopUpState::Pending];
    let (_, waiting) = kept::list(db, Whose::Own(caller.workspace), &open, 0, 1).await?;
    if waiting < OPEN_MAX {
        kept::insert(db, &request).await?;
    }
    let made = kept::find_own::<TopUpState>(db, caller.workspace, request.id).await?;
    let made = made.ok_or_else(|| {
        let problem = format!("{waiting} top-ups wait to be paid already: cancel one first");
        Error::Blocked("TOO_MANY_TOP_UPS", problem)
    })?;
    Ok(AskedOut { top_up_request: made.into(), client_secret: "", card_details: Vec::new() })
}

async fn cancel(mut call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let id = Segment(body.required_text("id")?).id::<RequestId>("top-up")?;
    let note = body.line("cancelMessage", NOTE_CHARS_MAX)?.unwrap_or_default();
    body.finish()?;
    let app = call.app();
    let own = kept::find_own::<TopUpState>(&app.db, caller.workspace, id).await?;
    if own.is_none() {
        return Err(Error::not_found("top-up", &id.to_string()));
    }
    app.coordinator
        .book(Booking::TopUpStep { id, to: TopUpState::Canceled, note })
        .await
        .map_err(booking_failed)?;
    Ok(done())
}

async fn list(call: Call) -> Result<Paged<TopUpOut>> {
    requests::listed::<TopUpState, _>(&call).await
}

async fn step(id: Segment, mut call: Call) -> Result<MovedOut> {
    server_owner(&call).await?;
    let id = id.id::<RequestId>("top-up")?;
    let (to, note) = read_step::<TopUpState>(&mut call).await?;
    let app = call.app();
    app.coordinator.book(Booking::TopUpStep { id, to, note }).await.map_err(booking_failed)?;
    let moved = kept::find::<TopUpState>(&app.db, id).await?;
    let moved = moved.ok_or_else(|| Error::not_found("top-up", &id.to_string()))?;
    Ok(MovedOut { top_up_request: moved.into() })
}

impl From<Request<TopUpState>> for TopUpOut {
    fn from(request: Request<TopUpState>) -> Self {
        Self {
            id: request.id,
            created_at: request.created_at,
            updated_at: request.updated_at,
            owner_id: request.asker,
            account_id: request.workspace,
            billing_profile_id: "",
            amount: Amount::of(request.terms.amount),
            currency: request.terms.currency.to_string(),
            currency_amount: request.terms.money.to_string(),
            exchange_rate: Amount::exact(request.terms.rate),
            state: request.state.as_str(),
            note: request.note,
            confirm_immediately: false,
            topup_type: "",
            should_downgrade_tier: false,
            should_recover_completely: false,
        }
    }
}

#[cfg(test)]
mod tests;
