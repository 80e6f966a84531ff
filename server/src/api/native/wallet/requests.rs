//! What the routes of top-ups and payouts have in common.

use std::collections::BTreeMap;

use common::ids::RequestId;
use common::money::currency::{NoTerms, Terms};
use common::package::loose::Loose;

use super::exchange::{amount, currency};
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::query;
use crate::api::http::shape::{Field, flag, text};
use crate::api::native::page;
use crate::app::App;
use crate::error::{Error, Result};
use crate::people::caller::Caller;
use crate::wallet::requests::{self, Kind, Owner, Request};

pub const NOTE_CHARS_MAX: usize = 1_000;
pub const ALL: Field = flag("all", "Those of all workspaces; for the server's owner");
pub const NOTE: Field = text("note", "Why; shown to the requester");

/// How much is asked for: in credits, in money, or in both where they agree.
pub const TERMS: &[Field] = &[
    text("credits", "A decimal text").example("100"),
    text("currency", "Three letters; USD where it is left out"),
    text("money", "A decimal text"),
];

/// What this API calls the states of a kind of requests.
pub trait Words: Kind {
    const WORDS: &'static [(&'static str, Self)];
}

/// What is asked for: who asks, the id of the new request, and its terms.
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
    let (currency, rate) = currency(app, body.text("currency")?.as_deref())?;
    let credits = body.text("credits")?.map(|text| amount("credits", &text)).transpose()?;
    let money = body.text("money")?.map(|text| amount("money", &text)).transpose()?;
    Terms::new(currency, rate, credits, money).map_err(refused)
}

fn refused(none: NoTerms) -> Error {
    match none {
        NoTerms::Nothing => Error::field("credits", "must say how much, or money must"),
        NoTerms::TooLittle => Error::field("credits", none.to_string()),
        NoTerms::Differ(cost) => {
            Error::field("money", format!("is not what the credits cost, which is {cost}"))
        }
        NoTerms::Fraction => Error::field("money", none.to_string()),
    }
}

/// A page of requests, newest first, and the cursor that asks for more; those of all workspaces
/// are for the server's owner.
pub async fn list<S: Words>(call: &Call) -> Result<(Vec<Request<S>>, Option<String>)> {
    let query = call.query()?;
    let caller;
    let owner = if query::flag(&query, "all")?.unwrap_or(false) {
        Owner::Everybody(call.server_owner().await?.1)
    } else {
        caller = call.caller().await?;
        Owner::Caller(&caller)
    };
    let states: Vec<S> = find_asked_state(&query)?.into_iter().collect();
    let page = page::numbered(&query)?;
    let (found, total) = requests::list(call.app(), owner, &states, page).await?;
    let next_cursor = page::after(page, found.len(), total);
    Ok((found, next_cursor))
}

/// Moves a request to the state that the body says.
pub async fn advance<S: Words>(id: &Segment, call: &mut Call) -> Result<Request<S>> {
    let (_, owner) = call.server_owner().await?;
    let id = id.id(S::NAME)?;
    let mut body = call.json().await?;
    let to = find_state(&body.required_text("state")?)?;
    let note = body.line("note", NOTE_CHARS_MAX)?.unwrap_or_default();
    body.finish()?;
    let moved = requests::advance(call.app(), owner, id, to, note).await;
    moved.map_err(|error| error.about("state"))
}

fn find_asked_state<S: Words>(query: &BTreeMap<String, String>) -> Result<Option<S>> {
    query.get("state").map(|name| find_state(name)).transpose()
}

fn find_state<S: Words>(name: &str) -> Result<S> {
    let found = S::WORDS.iter().find(|(word, _)| *word == name).map(|(_, state)| *state);
    let words: Vec<&str> = S::WORDS.iter().map(|(word, _)| *word).collect();
    found.ok_or_else(|| Error::field("state", format!("must be one of {}", words.join(", "))))
}
