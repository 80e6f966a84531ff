//! What top-ups and payouts have in common: both are requests that the server's owner moves along.

use common::ids::RequestId;
use common::money::currency::Terms;
use common::money::wallet_request::State;

use crate::app::App;
use crate::clock;
use crate::coordinator::Booking;
use crate::error::{Error, Result};
use crate::listing::Page;
use crate::people::caller::Caller;
use crate::people::server_owner::ServerOwner;
use crate::store::money::wallet_requests;
pub use crate::store::money::wallet_requests::Request;
use crate::store::money::wallet_requests::Whose;

/// A kind of request, by its states.
pub trait Kind: State {
    /// As people call it.
    const NAME: &'static str;
    /// Its first state.
    const NEW: Self;

    /// Asks for a new one.
    fn ask(request: Request<Self>) -> Booking;

    /// Moves one to another state.
    fn step(id: RequestId, to: Self, note: String) -> Booking;
}

/// Whose requests are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    Caller(&'a Caller),
    Everybody(ServerOwner),
}

/// A part of the requests in these states, or in any where none is named; newest first, and how
/// many there are.
pub async fn list<S: Kind>(
    app: &App,
    owner: Owner<'_>,
    states: &[S],
    page: Page,
) -> Result<(Vec<Request<S>>, u64)> {
    let whose = match owner {
        Owner::Caller(caller) => Whose::Own(caller.workspace),
        Owner::Everybody(_) => Whose::Everybodys,
    };
    Ok(wallet_requests::list(&app.db, whose, states, page.offset, page.limit).await?)
}

/// Moves a request to another state, and its credits with it.
pub async fn advance<S: Kind>(
    app: &App,
    _: ServerOwner,
    id: RequestId,
    to: S,
    note: String,
) -> Result<Request<S>> {
    app.coordinator.book(S::step(id, to, note)).await?;
    wallet_requests::find(&app.db, id).await?.ok_or_else(|| not_found::<S>(id))
}

/// A new request of the caller.
pub(super) fn new<S: Kind>(caller: &Caller, id: RequestId, terms: Terms) -> Request<S> {
    Request::new(id, caller.workspace, caller.user, terms, S::NEW, clock::now())
}

/// A request of the caller's workspace.
pub(super) async fn find<S: Kind>(app: &App, caller: &Caller, id: RequestId) -> Result<Request<S>> {
    let found = wallet_requests::find_own(&app.db, caller.workspace, id).await?;
    found.ok_or_else(|| not_found::<S>(id))
}

fn not_found<S: Kind>(id: RequestId) -> Error {
    Error::not_found(S::NAME, &id.to_string())
}
