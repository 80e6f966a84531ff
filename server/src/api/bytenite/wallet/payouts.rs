//! Payouts: what nodes have earned, turned into money.

use chrono::{DateTime, Utc};
use common::ids::{RequestId, UserId, WorkspaceId};
use common::money::wallet_request::{PayoutState, State as _};
use serde::Serialize;
use utoipa::ToSchema;

use super::amount::Amount;
use super::requests::{self, LIST, STEP, TERMS, read_ask};
use crate::api::bytenite::lists::page::{LIMIT, OFFSET, Page, Paged};
use crate::api::bytenite::words;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get, post};
use crate::error::Result;
use crate::wallet::payouts;
use crate::wallet::requests::{Owner, Request};

pub fn routes() -> Vec<Route> {
    vec![
        post("Wallet_Payout", "/payout", ask)
            .creates()
            .summary("Requests a payout of earnings; its credits are set aside at once")
            .body(TERMS),
        get("Wallet_GetPayoutHistory", "/payout_history", history)
            .summary("Lists the workspace's payouts, newest first")
            .query(vec![LIMIT, OFFSET]),
        get("Wallet_ListPayouts", "/payouts", list)
            .summary("Lists payouts, newest first")
            .query(LIST),
        post("Wallet_MovePayout", "/payouts/{id}/state", step)
            .summary("Sets a payout's state; for the server's owner")
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
    let (caller, id, terms) = read_ask(&mut call).await?;
    let made = payouts::ask(call.app(), &caller, id, terms).await;
    Ok(AskedOut { payout_request: made.map_err(|error| error.about("amount"))?.into() })
}

async fn history(call: Call) -> Result<HistoryOut> {
    let caller = call.caller().await?;
    let page = Page::read(&call.query()?)?;
    let own = Owner::Caller(&caller);
    let (found, _) =
        crate::wallet::requests::list::<PayoutState>(call.app(), own, &[], page).await?;
    let payout_requests = found.into_iter().map(PayoutOut::from).collect();
    Ok(HistoryOut { account_id: caller.workspace, payout_requests })
}

async fn list(call: Call) -> Result<Paged<PayoutOut>> {
    requests::list::<PayoutState, _>(call).await
}

async fn step(id: Segment, mut call: Call) -> Result<AskedOut> {
    let moved = requests::step::<PayoutState>(id, &mut call).await?;
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
