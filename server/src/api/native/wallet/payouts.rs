//! Payouts: what nodes have earned, turned into money.

use chrono::{DateTime, Utc};
use common::access::Scope;
use common::ids::{RequestId, UserId, WorkspaceId};
use common::money::credits::Credits;
use common::money::wallet_request::PayoutState;
use serde::Serialize;
use utoipa::ToSchema;

use super::requests::{self, ALL, NOTE, TERMS, Words, read_ask};
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::word;
use crate::api::native::page::PAGE;
use crate::error::Result;
use crate::wallet::payouts;
use crate::wallet::requests::Request;

const STATES: [&str; 7] =
    ["new", "pending_verification", "info_required", "sent", "confirmed", "bounced", "failed"];

pub fn routes() -> Vec<Route> {
    let state = word("state", &STATES, "Those in this state");
    vec![
        post("Fanfold_RequestPayout", "/payouts", ask)
            .creates()
            .summary("Requests a payout of earnings; its credits are set aside at once")
            .body(TERMS)
            .needs(Scope::WalletWrite),
        get("Fanfold_ListPayouts", "/payouts", list)
            .summary("Lists payouts, the newest first")
            .query([&PAGE[..], &[state, ALL]].concat())
            .needs(Scope::WalletRead),
        post("Fanfold_AdvancePayout", "/payouts/{request}/state", advance)
            .summary("Sets a payout's state; for the server's owner")
            .body(vec![word("state", &STATES, "Its new state").required(), NOTE])
            .needs(Scope::WalletWrite),
    ]
}

#[derive(Serialize, ToSchema)]
struct PayoutList {
    /// The newest first.
    requests: Vec<PayoutOut>,
    next_cursor: Option<String>,
}

/// A request to pay earnings out.
#[derive(Serialize, ToSchema)]
#[schema(as = PayoutRequest)]
struct PayoutOut {
    #[schema(value_type = String)]
    id: RequestId,
    #[schema(value_type = String)]
    workspace: WorkspaceId,
    /// The user who asked.
    #[schema(value_type = String)]
    asker: UserId,
    state: PayoutStateOut,
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
    /// When the money was sent.
    sent_at: Option<DateTime<Utc>>,
    /// When it arrived.
    confirmed_at: Option<DateTime<Utc>>,
}

/// How far a payout is: its credits are set aside until the money is `confirmed`, or given back when
/// it has `bounced` or `failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PayoutRequestState)]
enum PayoutStateOut {
    New,
    PendingVerification,
    InfoRequired,
    Sent,
    Confirmed,
    Bounced,
    Failed,
}

impl Words for PayoutState {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("new", Self::New),
        ("pending_verification", Self::PendingVerification),
        ("info_required", Self::InfoRequired),
        ("sent", Self::Sent),
        ("confirmed", Self::Confirmed),
        ("bounced", Self::Bounced),
        ("failed", Self::Failed),
    ];
}

async fn ask(mut call: Call) -> Result<PayoutOut> {
    let (caller, id, terms) = read_ask(&mut call).await?;
    let made = payouts::ask(call.app(), &caller, id, terms).await;
    Ok(made.map_err(|error| error.about("credits"))?.into())
}

async fn list(call: Call) -> Result<PayoutList> {
    let (found, next_cursor) = requests::list::<PayoutState>(&call).await?;
    Ok(PayoutList { requests: found.into_iter().map(PayoutOut::from).collect(), next_cursor })
}

async fn advance(request: Segment, mut call: Call) -> Result<PayoutOut> {
    Ok(requests::advance::<PayoutState>(&request, &mut call).await?.into())
}

impl From<Request<PayoutState>> for PayoutOut {
    fn from(request: Request<PayoutState>) -> Self {
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
            sent_at: request.sent_at,
            confirmed_at: request.confirmed_at,
        }
    }
}

impl From<PayoutState> for PayoutStateOut {
    fn from(state: PayoutState) -> Self {
        match state {
            PayoutState::New => Self::New,
            PayoutState::PendingVerification => Self::PendingVerification,
            PayoutState::InfoRequired => Self::InfoRequired,
            PayoutState::Sent => Self::Sent,
            PayoutState::Confirmed => Self::Confirmed,
            PayoutState::Bounced => Self::Bounced,
            PayoutState::Failed => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use common::money::wallet_request::State as _;

    use super::*;

    #[test]
    fn payout_states_have_one_word_each() {
        assert_eq!(PayoutState::WORDS.len(), PayoutState::ALL.len());
        for ((word, state), listed) in PayoutState::WORDS.iter().zip(STATES) {
            let shown = serde_json::to_value(PayoutStateOut::from(*state)).unwrap();

            assert_eq!((shown, *word), (listed.into(), listed));
        }
    }
}
