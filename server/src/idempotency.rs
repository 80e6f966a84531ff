//! A create that is repeated under one key makes one thing.
//!
//! The key, bound to what was asked, gives the id of what is made, before it is made. A repeat gets
//! the same id and finds the thing made, or makes what a crash kept the first call from making.

use common::digest::Digest;
use uuid::Uuid;

use crate::app::App;
use crate::error::{Error, Result};
use crate::people::caller::Caller;
use crate::store::idempotency_keys::{self, Named};
use crate::store::jobs::IdOrigin;

/// What requests call their key.
pub const NAME: &str = "Idempotency-Key";

/// A caller's key for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    pub key: String,
    /// Of all that the request asks.
    pub asked: Digest,
}

/// The id of what a create makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewId {
    pub id: Uuid,
    /// The create has a key: the thing may exist already.
    pub named: bool,
    /// A call before this one asked for the same under that key.
    pub again: bool,
}

impl NewId {
    /// Where the id is from that was drawn, unless a call before this one drew it.
    pub fn origin(self) -> IdOrigin {
        if self.named { IdOrigin::Given } else { IdOrigin::Drawn }
    }
}

/// The id of what a create makes: `id`, or the first call's where it is repeated.
///
/// # Errors
/// A key that was used with another request.
pub async fn new_id(
    app: &App,
    caller: &Caller,
    key: Option<&RequestKey>,
    id: Uuid,
) -> Result<NewId> {
    let Some(RequestKey { key, asked }) = key else {
        return Ok(NewId { id, named: false, again: false });
    };
    match idempotency_keys::bind(&app.db, caller.workspace, key, *asked, id).await? {
        Named::First => Ok(NewId { id, named: true, again: false }),
        Named::Again(id) => Ok(NewId { id, named: true, again: true }),
        Named::Other => Err(reused()),
    }
}

/// Whether the same was asked for under this key before; takes no note of it.
pub async fn asked_before(app: &App, caller: &Caller, key: Option<&RequestKey>) -> Result<bool> {
    let Some(RequestKey { key, asked }) = key else { return Ok(false) };
    match idempotency_keys::find(&app.db, caller.workspace, key, *asked).await? {
        Named::First => Ok(false),
        Named::Again(_) => Ok(true),
        Named::Other => Err(reused()),
    }
}

fn reused() -> Error {
    let text = format!("{NAME}: was used with another request: take a new one");
    Error::Blocked("IDEMPOTENCY_KEY_REUSED", text)
}
