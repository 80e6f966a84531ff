//! Files for the caches that containers find: a workspace's own, and the one that all share.

use chrono::{DateTime, Utc};
use common::access::Role;
use common::data::cache_name::{NAME_BYTES_MAX, is_name};

use crate::app::App;
use crate::data::bucket::blob_key::{BlobKey, Whose};
use crate::data::bucket::caches::FILES_MAX;
use crate::error::{Error, Result};
use crate::people::caller::Caller;
use crate::store::people::workspaces;

pub use crate::data::bucket::caches::Cached;

/// Which cache is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheScope {
    /// The caller's workspace's own.
    Workspace,
    /// The one that everybody reads and the server's owner changes.
    Shared,
}

impl CacheScope {
    const fn of(self, caller: &Caller) -> Whose {
        match self {
            Self::Workspace => Whose::User(caller.workspace),
            Self::Shared => Whose::Everybody,
        }
    }
}

/// A URL to which a file can be PUT, and when it ends.
pub async fn upload_url(
    app: &App,
    caller: &Caller,
    scope: CacheScope,
    name: &str,
) -> Result<(String, DateTime<Utc>)> {
    let whose = may_change(app, caller, scope).await?;
    let key = key(whose, name)?;
    let files = app.data.cached(whose).await?;
    if let Whose::User(owner) = whose {
        // The bucket may take files directly, and then nobody has counted them yet.
        let bytes = files.iter().map(|cached| cached.file.size).sum();
        app.data.quotas().check_folder(owner, &whose.folder(), bytes).await?;
    }
    if files.len() >= FILES_MAX {
        let problem = format!("a cache has at most {FILES_MAX} files: delete one");
        return Err(Error::NotNow(problem));
    }
    Ok(app.data.upload_cached(&key).await?)
}

/// All files of a cache, by name.
pub async fn list(app: &App, caller: &Caller, scope: CacheScope) -> Result<Vec<Cached>> {
    Ok(app.data.cached(scope.of(caller)).await?)
}

/// Deletes a file of a cache.
pub async fn delete(app: &App, caller: &Caller, scope: CacheScope, name: &str) -> Result<()> {
    let key = key(may_change(app, caller, scope).await?, name)?;
    if !app.data.remove_cached(&key).await? {
        return Err(Error::not_found("file", name));
    }
    Ok(app.data.quotas().forget(&key).await?)
}

fn key(whose: Whose, name: &str) -> Result<BlobKey> {
    if is_name(name) {
        return Ok(BlobKey::Cached { whose, name: name.to_owned() });
    }
    let problem = format!(
        "must be a path of letters, digits and ._-+=@ without empty, dot or dash-led parts, of at \
         most {NAME_BYTES_MAX} bytes"
    );
    Err(Error::field("name", problem))
}

/// The cache, if the caller may change it: the shared one is changed by the admins of the workspace
/// that owns the server.
async fn may_change(app: &App, caller: &Caller, scope: CacheScope) -> Result<Whose> {
    let is_owner = async || {
        Ok::<_, Error>(
            caller.role == Role::Admin
                && workspaces::owns_server(&app.db, caller.workspace).await?,
        )
    };
    if scope == CacheScope::Workspace || is_owner().await? {
        return Ok(scope.of(caller));
    }
    let message = "only the server's owner changes the shared cache: leave scope out for your own";
    Err(Error::Forbidden(message.to_owned()))
}
