//! `Idempotency-Key`: a create that is repeated under one key makes one thing.

use common::digest::Digest;
use uuid::Uuid;

use super::call::Call;
use super::error::{Error, Result};
use super::token::Caller;
use crate::store::creates::{self, Named};

const KEY_CHARS_MAX: usize = 255;

/// The id that a create under an `Idempotency-Key` is to give, or `None` without one. It is `fresh`
/// for the first call, and what that call had for each that asks for the same again: whoever makes
/// the thing must then find it made.
pub async fn named(call: &Call, caller: &Caller, body: &[u8], fresh: Uuid) -> Result<Option<Uuid>> {
    let Some(key) = call.headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=KEY_CHARS_MAX).contains(&key.len()));
    let problem = || format!("must be 1 to {KEY_CHARS_MAX} plain characters");
    let key = key.ok_or_else(|| Error::field("Idempotency-Key", problem()))?;
    let asked = Digest::of(&[call.path.as_str().as_bytes(), b"\n", body].concat());
    match creates::bind(&call.app().db, caller.workspace, key, asked, fresh).await? {
        Named::Made(id) => Ok(Some(id)),
        Named::Other => Err(Error::Blocked(
            "IDEMPOTENCY_KEY_REUSED",
            "Idempotency-Key: was used with another request: take a new one".to_owned(),
        )),
    }
}
