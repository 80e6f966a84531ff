//! API keys: made with a code from the caller's e-mail, shown once, listed and revoked.

use chrono::TimeDelta;
use common::access::{Scope, Scopes};
use common::ids::{ApiKeyId, UserId};

use super::caller::Caller;
use super::profile;
use super::sign_in::CodeIn;
use crate::app::App;
use crate::clock;
use crate::error::{Error, Result};
use crate::store::people::api_keys;
use crate::store::people::api_keys::New;
pub use crate::store::people::api_keys::{ApiKey, KeyPrefix, NotAPrefix};
use crate::store::people::one_time_codes;
use crate::store::people::one_time_codes::Redeemed;

/// A year, in seconds.
const LIFE_DEFAULT: u64 = 365 * 24 * 3600;
pub const LIFE_SECS_MAX: u64 = 10 * LIFE_DEFAULT;
const KEYS_MAX: u64 = 1_000;

/// A key that is asked for.
#[derive(Debug, Clone)]
pub struct KeyIn {
    pub id: ApiKeyId,
    /// What its text starts with.
    pub prefix: KeyPrefix,
    pub name: String,
    /// A year where left out.
    pub life_secs: Option<u64>,
    /// All that the caller's own key may where left out.
    pub scopes: Option<Scopes>,
    /// The code that was sent to the caller's address.
    pub code: Option<CodeIn>,
}

/// What became of a key that was asked for.
pub enum Created {
    /// The key's text, which is kept nowhere.
    New { text: String, key: ApiKey },
    /// The key was made before, and its text was shown then.
    Before,
}

/// Makes a key. It takes a code that was sent to the caller's address; only the owner of a server,
/// who may have no address, needs none. A key may never do more than the caller's own, or a key
/// with few scopes could make one with all.
///
/// # Errors
/// `Invalid` where the code is missing, and `Forbidden` where it is wrong.
pub async fn create(app: &App, caller: &Caller, new: KeyIn) -> Result<Created> {
    let scopes = match new.scopes {
        None => caller.made_with,
        Some(scopes) => {
            scopes.iter().try_for_each(|scope| caller.check(scope))?;
            scopes
        }
    };
    let user = profile::find(app, caller).await?;
    if api_keys::is_made(&app.db, new.id).await? {
        return Ok(Created::Before);
    }
    if !user.email.is_empty() {
        prove(app, caller, &user.email, new.code).await?;
    }
    let life = new.life_secs.unwrap_or(LIFE_DEFAULT).min(LIFE_SECS_MAX);
    let expires_at = Some(clock::now() + TimeDelta::seconds(life.cast_signed()));
    let new = New { id: new.id, prefix: new.prefix, name: &new.name, expires_at, scopes };
    let made = api_keys::issue_new(&app.db, caller.workspace, caller.user, new).await?;
    Ok(made.map_or(Created::Before, |(text, key)| Created::New { text, key }))
}

async fn prove(app: &App, caller: &Caller, email: &str, code: Option<CodeIn>) -> Result<()> {
    let guesses = app.attempts.guesses();
    let guesser = format!("{} for a key", caller.user);
    guesses.check(&guesser)?;
    let Some(CodeIn { nonce, code }) = code else {
        let problem = "is missing, or its nonce: start a sign-in to receive both";
        return Err(Error::Invalid(problem.to_owned()));
    };
    match one_time_codes::redeem(&app.db, email, &nonce, &code).await? {
        Redeemed::Right(_) => {
            guesses.right(&guesser);
            Ok(())
        }
        Redeemed::Wrong | Redeemed::Unknown => {
            guesses.wrong(&guesser);
            Err(Error::Forbidden("the code is wrong, or too old, or was used".to_owned()))
        }
    }
}

/// All keys of the workspace for an admin, for others their own; newest first.
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<ApiKey>> {
    let whose = whose(caller, Scope::MembersRead);
    Ok(api_keys::list(&app.db, caller.workspace, whose, KEYS_MAX).await?)
}

/// Ends a key for good: the caller's own, or for an admin any of the workspace.
pub async fn revoke(app: &App, caller: &Caller, key: ApiKeyId) -> Result<()> {
    let whose = whose(caller, Scope::MembersWrite);
    if api_keys::revoke(&app.db, caller.workspace, whose, key).await? {
        Ok(())
    } else {
        Err(Error::not_found("API key", &key.to_string()))
    }
}

/// Everybody's keys for who may decide on members, else the caller's own.
fn whose(caller: &Caller, all: Scope) -> Option<UserId> {
    if caller.check(all).is_ok() { None } else { Some(caller.user) }
}
