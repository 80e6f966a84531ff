//! Top-ups: credits that are bought. No payment provider is connected, so the server's owner
//! confirms what has been paid.

use chrono::{DateTime, Utc};
use common::credits::Credits;
use common::exchange::{Money, Terms};
use common::ids::{RequestId, UserId, WorkspaceId};
use common::package::loose::Loose;
use common::wallet::{State, TopUpState};
use serde::Serialize;
use utoipa::ToSchema;

use super::owner::server_owner;
use super::{amount, exchange};
use crate::api::App;
use crate::api::http::call::{self, BODY_BYTES_MAX, Call, Segment};
use crate::api::http::error::{Error, Result};
use crate::api::http::idempotency;
use crate::api::http::reply::{Done, done};
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::{Field, flag, text};
use crate::api::http::token::Caller;
use crate::api::lists::page::{LIMIT, OFFSET, Page, Paged};
use crate::clock;
use crate::coordinator::Booking;
use crate::store::requests::{self, Request, Whose};

pub const NOTE_CHARS_MAX: usize = 1_000;
/// Top-ups of one workspace that wait to be paid.
const OPEN_MAX: u64 = 20;

/// What a list of requests can be asked.
pub const LIST: &[Field] = &[
    LIMIT.called("pagination.limit"),
    OFFSET.called("pagination.offset"),
    text("state", "Those in this state only"),
    flag("all", "Those of all workspaces; for the server's owner"),
];

/// What a request is moved with.
pub const STEP: &[Field] =
    &[text("state", "").required(), text("note", "Why; whoever asked can read it")];

/// How an amount is asked for: in credits, in money, or in both where they agree.
pub const TERMS: &[Field] = &[
    text("amount", "Credits"),
    text("currency", "Three letters; USD where it is left out"),
    text("currencyAmount", "Money"),
];

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
    #[schema(value_type = String)]
    amount: Credits,
    currency: String,
    currency_amount: String,
    /// The price of one credit when it was asked for, which it keeps.
    exchange_rate: String,
    /// `NEW`, `PENDING`, `CONFIRMED`, `CANCELED` or `FAILED`.
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
    let mut body = call::object(&bytes)?;
    let terms = read_terms(call.app(), &mut body)?;
    body.finish()?;
    let id = RequestId::new(idempotency::new_id(&call, &caller, &bytes).await?.id);
    let request = new_request(id, &caller, terms, TopUpState::New);
    let db = &call.app().db;
    let open = [TopUpState::New, TopUpState::Pending];
    let (_, waiting) = requests::list(db, Whose::Own(caller.workspace), &open, 0, 1).await?;
    if waiting < OPEN_MAX {
        requests::insert(db, &request).await?;
    }
    let made = requests::find_own::<TopUpState>(db, caller.workspace, request.id).await?;
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
    let own = requests::find_own::<TopUpState>(&app.db, caller.workspace, id).await?;
    if own.is_none() {
        return Err(Error::not_found("top-up", &id.to_string()));
    }
    app.coordinator.book(Booking::TopUpStep { id, to: TopUpState::Canceled, note }).await?;
    Ok(done())
}

async fn list(call: Call) -> Result<Paged<TopUpOut>> {
    let (whose, states, page) = read_list::<TopUpState>(&call).await?;
    let db = &call.app().db;
    let (found, total) = requests::list(db, whose, &states, page.offset, page.limit).await?;
    let data = found.into_iter().map(TopUpOut::from).collect();
    Ok(Paged { pagination: page.of(total), data })
}

async fn step(id: Segment, mut call: Call) -> Result<MovedOut> {
    server_owner(&call).await?;
    let id = id.id::<RequestId>("top-up")?;
    let (to, note) = read_step::<TopUpState>(&mut call).await?;
    let app = call.app();
    app.coordinator.book(Booking::TopUpStep { id, to, note }).await?;
    let moved = requests::find::<TopUpState>(&app.db, id).await?;
    let moved = moved.ok_or_else(|| Error::not_found("top-up", &id.to_string()))?;
    Ok(MovedOut { top_up_request: moved.into() })
}

/// Reads `TERMS`.
pub fn read_terms(app: &App, body: &mut Loose) -> Result<Terms> {
    let name = body.text("currency")?.unwrap_or_default();
    let (currency, rate) = exchange::currency(app, &name)?;
    let credits = amount::take::<Credits>(body, "amount")?;
    let money = amount::take::<Money>(body, "currencyAmount")?;
    Terms::new(currency, rate, credits, money)
        .map_err(|none| Error::field(none.field(), none.to_string()))
}

pub fn new_request<S>(id: RequestId, caller: &Caller, terms: Terms, state: S) -> Request<S> {
    let now = clock::now();
    Request {
        id,
        workspace: caller.workspace,
        asker: caller.user,
        terms,
        state,
        note: String::new(),
        created_at: now,
        updated_at: now,
        sent_at: None,
        confirmed_at: None,
    }
}

/// Reads `LIST`; the requests of all workspaces are the server's owner's to see.
pub async fn read_list<S: State>(call: &Call) -> Result<(Whose, Vec<S>, Page)> {
    let query = call.query()?;
    let whose = match query.get("all").map(String::as_str) {
        Some("true") => {
            server_owner(call).await?;
            Whose::Everybodys
        }
        Some("" | "false") | None => Whose::Own(call.caller().await?.workspace),
        Some(_) => return Err(Error::field("all", "must be true or false")),
    };
    let states = match query.get("state").filter(|state| !state.is_empty()) {
        None => Vec::new(),
        Some(name) => vec![find_state(name)?],
    };
    Ok((whose, states, Page::read(&query)?))
}

/// Reads `STEP`.
pub async fn read_step<S: State>(call: &mut Call) -> Result<(S, String)> {
    let mut body = call.json().await?;
    let to = find_state(&body.required_text("state")?)?;
    let note = body.line("note", NOTE_CHARS_MAX)?.unwrap_or_default();
    body.finish()?;
    Ok((to, note))
}

fn find_state<S: State>(name: &str) -> Result<S> {
    let names: Vec<&str> = S::ALL.iter().map(|state| state.as_str()).collect();
    let problem = || format!("must be one of {}", names.join(", "));
    S::from_name(name).ok_or_else(|| Error::field("state", problem()))
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
            amount: request.terms.amount,
            currency: request.terms.currency.to_string(),
            currency_amount: request.terms.money.to_string(),
            exchange_rate: request.terms.rate.to_string(),
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
