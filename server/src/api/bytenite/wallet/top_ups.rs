//! Top-ups: credits that are bought.

use chrono::{DateTime, Utc};
use common::ids::{RequestId, UserId, WorkspaceId};
use common::money::wallet_request::{State as _, TopUpState};
use serde::Serialize;
use utoipa::ToSchema;

use super::amount::Amount;
use super::requests::{self, LIST, NOTE_CHARS_MAX, STEP, TERMS, read_ask};
use crate::api::bytenite::lists::page::Paged;
use crate::api::bytenite::wire::{Done, done};
use crate::api::bytenite::words;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::text;
use crate::error::Result;
use crate::wallet::requests::Request;
use crate::wallet::top_ups;

pub fn routes() -> Vec<Route> {
    vec![
        post("Wallet_TopUp", "/top_up", ask)
            .creates()
            .summary("Requests a top-up, which adds credits when it is paid")
            .body(TERMS),
        post("Wallet_CancelTopUp", "/cancel_top_up", cancel)
            .summary("Cancels an unpaid top-up")
            .body(vec![text("id", "").required(), text("cancelMessage", "")]),
        get("Wallet_ListTopUps", "/top_ups", list)
            .summary("Lists top-ups, newest first")
            .query(LIST),
        post("Wallet_MoveTopUp", "/top_ups/{id}/state", step)
            .summary(
                "Sets a top-up's state to PENDING, CONFIRMED or FAILED; for the server's owner",
            )
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
    let (caller, id, terms) = read_ask(&mut call).await?;
    let made = top_ups::ask(call.app(), &caller, id, terms).await?;
    Ok(AskedOut { top_up_request: made.into(), client_secret: "", card_details: Vec::new() })
}

async fn cancel(mut call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let id = Segment(body.required_text("id")?).id("top-up")?;
    let note = body.line("cancelMessage", NOTE_CHARS_MAX)?.unwrap_or_default();
    body.finish()?;
    let canceled = top_ups::cancel(call.app(), &caller, id, note).await;
    canceled.map_err(|error| error.about("state"))?;
    Ok(done())
}

async fn list(call: Call) -> Result<Paged<TopUpOut>> {
    requests::list::<TopUpState, _>(call).await
}

async fn step(id: Segment, mut call: Call) -> Result<MovedOut> {
    let moved = requests::step::<TopUpState>(id, &mut call).await?;
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
