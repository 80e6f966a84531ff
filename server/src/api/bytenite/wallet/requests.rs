//! What top-ups and payouts have alike: both are requests that the server's owner moves along.

use common::money::credits::Credits;
use common::money::currency::{Money, NoTerms, Terms};
use common::money::wallet_request::State;
use common::package::loose::Loose;

use super::owner::server_owner;
use super::{amount, exchange};
use crate::api::bytenite::lists::page::{LIMIT, OFFSET, Page, Paged};
use crate::api::http::call::Call;
use crate::api::http::shape::{Field, flag, text, word};
use crate::app::App;
use crate::error::{Error, Result};
use crate::store::money::wallet_requests as kept;
use crate::store::money::wallet_requests::{Request, Whose};

pub const NOTE_CHARS_MAX: usize = 1_000;

/// What a list of requests can be asked.
pub const LIST: &[Field] = &[
    LIMIT.called("pagination.limit"),
    OFFSET.called("pagination.offset"),
    word("state", &STATES, "Those in this state only; some are of top-ups, some of payouts"),
    flag("all", "Those of all workspaces; for the server's owner"),
];

/// What a request is moved with.
pub const STEP: &[Field] = &[STATE.required(), text("note", "Why; the requester can read it")];
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

/// Reads `TERMS`.
pub fn read_terms(app: &App, body: &mut Loose) -> Result<Terms> {
    let name = body.text("currency")?.unwrap_or_default();
    let (currency, rate) = exchange::currency(app, &name)?;
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

/// A page of requests, as `LIST` asks for them; the requests of all workspaces are the server's owner's to see.
pub async fn listed<S: State, Out: From<Request<S>>>(call: &Call) -> Result<Paged<Out>> {
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
    let page = Page::read(&query)?;
    let db = &call.app().db;
    let (found, total) = kept::list(db, whose, &states, page.offset, page.limit).await?;
    let pagination = page.of(total, found.len() as u64);
    Ok(Paged { pagination, data: found.into_iter().map(Out::from).collect() })
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
