//! What the routes of top-ups and payouts have in common.

use common::ids::RequestId;
use common::money::credits::Credits;
use common::money::currency::{Money, NoTerms, Terms};
use common::package::loose::Loose;

use super::{amount, exchange};
use crate::api::bytenite::lists::page::{LIMIT, OFFSET, Page, Paged};
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::shape::{Field, flag, text, word};
use crate::app::App;
use crate::error::{Error, Result};
use crate::people::caller::Caller;
use crate::wallet::requests;
use crate::wallet::requests::{Kind, Owner, Request};

pub const NOTE_CHARS_MAX: usize = 1_000;

/// What a list of requests can be asked.
pub const LIST: &[Field] = &[
    LIMIT.called("pagination.limit"),
    OFFSET.called("pagination.offset"),
    word("state", &STATES, "Those in this state only; some are of top-ups, some of payouts"),
    flag("all", "Those of all workspaces; for the server's owner"),
];

/// What a request is moved with.
pub const STEP: &[Field] = &[STATE.required(), text("note", "Why; shown to the requester")];
const STATE: Field = word("state", &STATES, "Its new state; some are of top-ups, some of payouts");
const STATES: [&str; 9] = [
    "NEW",
    "PENDING",
    "PENDING_VERIFICATION",
    "INFO_REQUIRED",
    "SENT",
    "CONFIRMED",
    "CANCELED",
    "BOUNCED",
    "FAILED",
];

/// How an amount is asked for: in credits, in money, or in both where they agree.
pub const TERMS: &[Field] = &[
    text("amount", "Credits").example("100"),
    text("currency", "Three letters; USD where it is left out"),
    text("currencyAmount", "Money"),
];

/// What is asked for: who asks, the id of the new request, and its terms, as `TERMS` writes them.
pub async fn read_ask(call: &mut Call) -> Result<(Caller, RequestId, Terms)> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let terms = read_terms(call.app(), &mut body)?;
    body.finish()?;
    let id = RequestId::new(idempotency::new_id(call, &caller, &bytes).await?.id);
    Ok((caller, id, terms))
}

fn read_terms(app: &App, body: &mut Loose) -> Result<Terms> {
    let (currency, rate) = exchange::currency(app, body.text("currency")?.as_deref())?;
    let credits = amount::take::<Credits>(body, "amount")?;
    let money = amount::take::<Money>(body, "currencyAmount")?;
    Terms::new(currency, rate, credits, money).map_err(refused)
}

fn refused(none: NoTerms) -> Error {
    match none {
        NoTerms::Nothing => Error::field("amount", "must say how much, or currencyAmount must"),
        NoTerms::TooLittle => Error::field("amount", none.to_string()),
        NoTerms::Differ(cost) => {
            Error::field("currencyAmount", format!("is not what amount costs, which is {cost}"))
        }
        NoTerms::Fraction => Error::field("currencyAmount", none.to_string()),
    }
}

/// A page of requests, as `LIST` asks for them; those of all workspaces are for the server's owner.
pub async fn list<S: Kind, Out: From<Request<S>>>(call: Call) -> Result<Paged<Out>> {
    let query = call.query()?;
    let all = match query.get("all").map(String::as_str) {
        Some("true") => true,
        Some("" | "false") | None => false,
        Some(_) => return Err(Error::field("all", "must be true or false")),
    };
    let caller;
    let owner = if all {
        Owner::Everybody(call.server_owner().await?.1)
    } else {
        caller = call.caller().await?;
        Owner::Caller(&caller)
    };
    let states = match query.get("state").filter(|state| !state.is_empty()) {
        None => Vec::new(),
        Some(name) => vec![find_state::<S>(name)?],
    };
    let page = Page::read(&query)?;
    let (found, total) = requests::list(call.app(), owner, &states, page).await?;
    let pagination = page.of(total, found.len() as u64);
    Ok(Paged { pagination, data: found.into_iter().map(Out::from).collect() })
}

/// Moves a request, as `STEP` says.
pub async fn step<S: Kind>(id: Segment, call: &mut Call) -> Result<Request<S>> {
    let (_, owner) = call.server_owner().await?;
    let id = id.id(S::NAME)?;
    let mut body = call.json().await?;
    let to = find_state::<S>(&body.required_text("state")?)?;
    let note = body.line("note", NOTE_CHARS_MAX)?.unwrap_or_default();
    body.finish()?;
    let moved = requests::advance(call.app(), owner, id, to, note).await;
    moved.map_err(|error| error.about("state"))
}

fn find_state<S: Kind>(name: &str) -> Result<S> {
    let names: Vec<&str> = S::ALL.iter().map(|state| state.as_str()).collect();
    let problem = || format!("must be one of {}", names.join(", "));
    S::from_name(name).ok_or_else(|| Error::field("state", problem()))
}
