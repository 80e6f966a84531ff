//! Files for the caches that containers find: a workspace's own, and the one for everybody.

use chrono::{DateTime, Utc};
use common::access::Scope;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::bytenite::wire::{Done, done};
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, delete, get};
use crate::api::http::shape::{Field, text};
use crate::definitions::caches::{self, CacheScope, Cached};
use crate::error::{Error, Result};

const SCOPE: Field = text("scope", "`shared` for the cache that everybody reads; else your own");

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CacheUploadOut {
    /// PUT the file's bytes here.
    url: String,
    name: String,
    expires_at: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
struct CacheOut {
    files: Vec<CachedFileOut>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CachedFileOut {
    name: String,
    /// Bytes.
    size: u64,
    /// Another one means other bytes.
    version: String,
    updated_at: DateTime<Utc>,
}

pub fn routes() -> Vec<Route> {
    vec![
        get("Developer_GetCacheUploadUrl", "/cache/upload-url", upload_url)
            .summary("Gets a URL to which a file of a cache can be uploaded")
            .query(vec![text("name", "Its path in the cache").required(), SCOPE])
            .needs(Scope::PackagesWrite),
        get("Developer_ListCache", "/cache", list)
            .summary("Lists the files that were uploaded for a cache")
            .query(vec![SCOPE]),
        delete("Developer_DeleteCacheFile", "/cache/{name}", remove)
            .summary("Deletes a file of a cache; slashes in its name are written %2F")
            .query(vec![SCOPE]),
    ]
}

async fn upload_url(call: Call) -> Result<CacheUploadOut> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let name = query.get("name").filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Error::field("name", "is missing: a path such as models/a"))?;
    let (url, expires_at) = caches::upload_url(call.app(), &caller, scope(&call)?, name).await?;
    Ok(CacheUploadOut { url, name: name.clone(), expires_at })
}

async fn list(call: Call) -> Result<CacheOut> {
    let caller = call.caller().await?;
    let files = caches::list(call.app(), &caller, scope(&call)?).await?;
    Ok(CacheOut { files: files.into_iter().map(CachedFileOut::from).collect() })
}

async fn remove(name: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    caches::delete(call.app(), &caller, scope(&call)?, &name.0).await?;
    Ok(done())
}

fn scope(call: &Call) -> Result<CacheScope> {
    match call.query()?.get("scope").map(String::as_str) {
        None | Some("" | "user") => Ok(CacheScope::Workspace),
        Some("shared") => Ok(CacheScope::Shared),
        Some(_) => Err(Error::field("scope", "must be shared, or left out for your own")),
    }
}

impl From<Cached> for CachedFileOut {
    fn from(Cached { file, updated_at }: Cached) -> Self {
        Self { name: file.name, size: file.size, version: file.version, updated_at }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use crate::api::testing::TestServer;

    async fn upload(server: &TestServer, query: &str, bytes: &'static str) {
        let (status, body) = server.get(&format!("/v1/dev/cache/upload-url?{query}")).await;
        assert_eq!(status, 200, "{body}");
        let put =
            server.client.put(body["url"].as_str().unwrap()).body(bytes).send().await.unwrap();
        assert_eq!(put.status(), 200);
    }

    #[tokio::test]
    async fn cache_file_is_uploaded_listed_and_deleted_by_its_workspace_only() {
        let server = TestServer::open().await;
        upload(&server, "name=models/a.bin", "bytes").await;

        let (_, mine) = server.get("/v1/dev/cache").await;
        assert_eq!(
            (&mine["files"][0]["name"], &mine["files"][0]["size"]),
            (&"models/a.bin".into(), &5.into())
        );
        let stranger = server.stranger().await;
        let (_, theirs) = server.call_as(&stranger, Method::GET, "/v1/dev/cache", None).await;
        assert_eq!(theirs["files"], serde_json::json!([]));
        let path = "/v1/dev/cache/models%2Fa.bin";
        assert_eq!(server.call_as(&stranger, Method::DELETE, path, None).await.0, 404);
        assert_eq!(server.call(Method::DELETE, path, None).await.0, 200);
        assert_eq!(server.call(Method::DELETE, path, None).await.0, 404);
    }

    #[tokio::test]
    async fn shared_cache_is_read_by_all_and_changed_by_the_owner() {
        let server = TestServer::open().await;
        upload(&server, "name=a&scope=shared", "for all").await;
        let stranger = server.stranger().await;
        let list = "/v1/dev/cache?scope=shared";

        let (_, seen) = server.call_as(&stranger, Method::GET, list, None).await;
        assert_eq!(seen["files"][0]["name"], "a");
        for (method, path) in [
            (Method::GET, "/v1/dev/cache/upload-url?name=a&scope=shared"),
            (Method::DELETE, "/v1/dev/cache/a?scope=shared"),
        ] {
            assert_eq!(server.call_as(&stranger, method, path, None).await.0, 403, "{path}");
        }
    }

    #[tokio::test]
    async fn cache_names_that_lead_outside_are_refused() {
        let server = TestServer::open().await;
        for name in ["", "..", "..%2Fx", "a%2F..%2F..%2Fx", "%2Fetc%2Fx", "a%5Cb", "a%00", "a%20b"]
        {
            let (status, body) = server.get(&format!("/v1/dev/cache/upload-url?name={name}")).await;

            assert_eq!(status, 400, "{name}");
            assert!(body["message"].as_str().unwrap().starts_with("name"), "{body}");
        }
        let (status, _) = server.get("/v1/dev/cache/upload-url?name=a&scope=other").await;
        assert_eq!(status, 400);
    }
}
