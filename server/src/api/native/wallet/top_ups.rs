//! Top-ups: credits that are bought.

use chrono::{DateTime, Utc};
use common::access::Scope;
use common::ids::{RequestId, UserId, WorkspaceId};
use common::money::credits::Credits;
use common::money::wallet_request::TopUpState;
use serde::Serialize;
use utoipa::ToSchema;

use super::requests::{self, ALL, NOTE, NOTE_CHARS_MAX, TERMS, Words, read_ask};
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::word;
use crate::api::native::page::PAGE;
use crate::error::Result;
use crate::wallet::requests::Request;
use crate::wallet::top_ups;

const STATES: [&str; 5] = ["new", "pending", "confirmed", "cancelled", "failed"];

pub fn routes() -> Vec<Route> {
    let state = word("state", &STATES, "Those in this state");
    vec![
        post("Fanfold_RequestTopUp", "/top_ups", ask)
            .creates()
            .summary("Requests a top-up, which adds credits when it is paid")
            .body(TERMS)
            .needs(Scope::WalletWrite),
        get("Fanfold_ListTopUps", "/top_ups", list)
            .summary("Lists top-ups, the newest first")
            .query([&PAGE[..], &[state, ALL]].concat())
            .needs(Scope::WalletRead),
        post("Fanfold_CancelTopUp", "/top_ups/{request}/cancel", cancel)
            .summary("Cancels an unpaid top-up")
            .body(vec![NOTE])
            .needs(Scope::WalletWrite),
        post("Fanfold_AdvanceTopUp", "/top_ups/{request}/state", advance)
            .summary("Sets a top-up's state; for the server's owner")
            .body(vec![word("state", &STATES, "Its new state").required(), NOTE])
            .needs(Scope::WalletWrite),
    ]
}

#[derive(Serialize, ToSchema)]
struct TopUpList {
    /// The newest first.
    requests: Vec<TopUpOut>,
    next_cursor: Option<String>,
}

/// A request to buy credits.
#[derive(Serialize, ToSchema)]
#[schema(as = TopUpRequest)]
struct TopUpOut {
    #[schema(value_type = String)]
    id: RequestId,
    #[schema(value_type = String)]
    workspace: WorkspaceId,
    /// The user who asked.
    #[schema(value_type = String)]
    asker: UserId,
    state: TopUpStateOut,
    #[schema(value_type = String)]
    credits: Credits,
    /// Three letters.
    currency: String,
    /// A decimal text.
    money: String,
    /// The price of one credit when it was asked for, which it keeps.
    rate: String,
    /// What was said with the last change of state.
    note: String,
    created_at: DateTime<Utc>,
    /// When its state changed last.
    updated_at: DateTime<Utc>,
}

/// How far a top-up is: asked for, being paid, `confirmed` when the credits are there, `cancelled` by
/// its requester, or `failed` where it was not paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TopUpRequestState)]
enum TopUpStateOut {
    New,
    Pending,
    Confirmed,
    Cancelled,
    Failed,
}

impl Words for TopUpState {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("new", Self::New),
        ("pending", Self::Pending),
        ("confirmed", Self::Confirmed),
        ("cancelled", Self::Canceled),
        ("failed", Self::Failed),
    ];
}

async fn ask(mut call: Call) -> Result<TopUpOut> {
    let (caller, id, terms) = read_ask(&mut call).await?;
    Ok(top_ups::ask(call.app(), &caller, id, terms).await?.into())
}

async fn list(call: Call) -> Result<TopUpList> {
    let (found, next_cursor) = requests::list::<TopUpState>(&call).await?;
    Ok(TopUpList { requests: found.into_iter().map(TopUpOut::from).collect(), next_cursor })
}

async fn cancel(request: Segment, mut call: Call) -> Result<TopUpOut> {
    let caller = call.caller().await?;
    let id = request.id("top-up")?;
    let mut body = call.json().await?;
    let note = body.line("note", NOTE_CHARS_MAX)?.unwrap_or_default();
    body.finish()?;
    Ok(top_ups::cancel(call.app(), &caller, id, note).await?.into())
}

async fn advance(request: Segment, mut call: Call) -> Result<TopUpOut> {
    Ok(requests::advance::<TopUpState>(&request, &mut call).await?.into())
}

impl From<Request<TopUpState>> for TopUpOut {
    fn from(request: Request<TopUpState>) -> Self {
        Self {
            id: request.id,
            workspace: request.workspace,
            asker: request.asker,
            state: request.state.into(),
            credits: request.terms.amount,
            currency: request.terms.currency.to_string(),
            money: request.terms.money.to_string(),
            rate: request.terms.rate.to_string(),
            note: request.note,
            created_at: request.created_at,
            updated_at: request.updated_at,
        }
    }
}

impl From<TopUpState> for TopUpStateOut {
    fn from(state: TopUpState) -> Self {
        match state {
            TopUpState::New => Self::New,
            TopUpState::Pending => Self::Pending,
            TopUpState::Confirmed => Self::Confirmed,
            TopUpState::Canceled => Self::Cancelled,
            TopUpState::Failed => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use common::money::wallet_request::State as _;

    use super::*;

    #[test]
    fn top_up_states_have_one_word_each() {
        assert_eq!(TopUpState::WORDS.len(), TopUpState::ALL.len());
        for ((word, state), listed) in TopUpState::WORDS.iter().zip(STATES) {
            let shown = serde_json::to_value(TopUpStateOut::from(*state)).unwrap();

            assert_eq!((shown, *word), (listed.into(), listed));
        }
    }
}
