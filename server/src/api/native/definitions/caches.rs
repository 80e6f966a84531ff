//! Files for the caches that containers find: a workspace's own, and the one that all share.

use chrono::{DateTime, Utc};
use common::access::Scope;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::{Call, Segment};
use crate::api::http::query;
use crate::api::http::route::{Route, delete, get, post};
use crate::api::http::shape::{Field, flag, text};
use crate::definitions::caches::{self, CacheScope, Cached};
use crate::error::Result;

const SHARED: Field = flag("shared", "The cache that everybody reads, and not your own");

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_ListCache", "/cache", list)
            .summary("Lists the files of a cache")
            .query(vec![SHARED])
            .needs(Scope::PackagesRead),
        post("Fanfold_CreateCacheUploadLink", "/cache", upload_link)
            .summary("Creates a link to which a file of a cache can be uploaded")
            .body(vec![
                text("name", "Its path in the cache").required().example("models/a"),
                SHARED,
            ])
            .needs(Scope::PackagesWrite),
        delete("Fanfold_DeleteCacheFile", "/cache/{name}", remove)
            .summary("Deletes a file of a cache; slashes in its name are written %2F")
            .query(vec![SHARED])
            .needs(Scope::PackagesWrite),
    ]
}

/// All files of a cache.
#[derive(Serialize, ToSchema)]
struct CacheFiles {
    /// By their names.
    files: Vec<CacheFile>,
    /// Always null: the list is whole.
    next_cursor: Option<String>,
}

/// A file of a cache.
#[derive(Serialize, ToSchema)]
struct CacheFile {
    /// Its path in the cache.
    name: String,
    /// Bytes.
    size: u64,
    /// Another one means other bytes.
    version: String,
    /// When it was uploaded last.
    updated_at: DateTime<Utc>,
}

/// Where a file can be uploaded.
#[derive(Serialize, ToSchema)]
struct CacheUploadLink {
    name: String,
    /// PUT the file's bytes here.
    link: String,
    /// When the link ends.
    expires_at: DateTime<Utc>,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
struct DeletedCacheFile {
    name: String,
}

async fn list(call: Call) -> Result<CacheFiles> {
    let caller = call.caller().await?;
    let files = caches::list(call.app(), &caller, scope(&call)?).await?;
    Ok(CacheFiles { files: files.into_iter().map(CacheFile::from).collect(), next_cursor: None })
}

async fn upload_link(mut call: Call) -> Result<CacheUploadLink> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let name = body.required_text("name")?;
    let scope = of_flag(body.flag("shared")?);
    body.finish()?;
    let (link, expires_at) = caches::upload_url(call.app(), &caller, scope, &name).await?;
    Ok(CacheUploadLink { name, link, expires_at })
}

async fn remove(name: Segment, call: Call) -> Result<DeletedCacheFile> {
    let caller = call.caller().await?;
    caches::delete(call.app(), &caller, scope(&call)?, &name.0).await?;
    Ok(DeletedCacheFile { name: name.0 })
}

fn scope(call: &Call) -> Result<CacheScope> {
    Ok(of_flag(query::flag(&call.query()?, "shared")?))
}

fn of_flag(is_shared: Option<bool>) -> CacheScope {
    if is_shared == Some(true) { CacheScope::Shared } else { CacheScope::Workspace }
}

impl From<Cached> for CacheFile {
    fn from(Cached { file, updated_at }: Cached) -> Self {
        Self { name: file.name, size: file.size, version: file.version, updated_at }
    }
}
