//! A workspace's secrets: written whole, read back without their secret half.

use chrono::{DateTime, Utc};
use common::secret::{SecretId, SecretKind};

use super::caller::Caller;
use crate::app::App;
use crate::clock;
use crate::error::{Error, Result};
use crate::store::secrets;
pub use crate::store::secrets::Secret;

const SECRETS_MAX: u64 = 1000;

/// When a secret ends.
///
/// # Errors
/// `Invalid` where that has passed.
pub fn expiry(time: DateTime<Utc>) -> Result<DateTime<Utc>> {
    if time <= clock::now() {
        return Err(Error::Invalid("has passed already".to_owned()));
    }
    Ok(time)
}

/// Keeps a secret with its secret half, in place of one with the same id.
pub async fn keep(app: &App, caller: &Caller, secret: &Secret, value: &str) -> Result<()> {
    if secrets::count(&app.db, caller.workspace).await? >= SECRETS_MAX {
        return Err(Error::NotNow(format!(
            "a workspace keeps at most {SECRETS_MAX} secrets: delete one that is not needed"
        )));
    }
    app.secrets.keep(caller.workspace, secret, value).await?;
    Ok(())
}

/// The workspace's secrets, or those of one kind, by their ids.
pub async fn list(app: &App, caller: &Caller, kind: Option<SecretKind>) -> Result<Vec<Secret>> {
    Ok(secrets::list(&app.db, caller.workspace, kind, SECRETS_MAX).await?)
}

/// Deletes a secret; false where there is no such one.
pub async fn delete(app: &App, caller: &Caller, kind: SecretKind, id: &SecretId) -> Result<bool> {
    Ok(secrets::delete(&app.db, caller.workspace, kind, id).await?)
}
