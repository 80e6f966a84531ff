//! Who the caller is, and what they say of themselves.

use common::access::Role;
use reqwest::Method;
use serde_json::json;

use crate::api::testing::TestServer;
use crate::store::people::members::Changed;
use crate::store::people::{api_keys, members};

#[tokio::test]
async fn api_key_is_exchanged_for_a_token_that_works_with_and_without_bearer() {
    let server = TestServer::open().await;

    let (status, body) = server
        .call_as("", Method::POST, "/v1/auth/access_token", Some(json!({"apiKey": server.key})))
        .await;
    let token = body["token"].as_str().unwrap();

    assert_eq!((status, body["expiresIn"].as_str()), (200, Some("3600")));
    for key in [token.to_owned(), format!("Bearer {token}"), format!("Bearer {}", server.key)] {
        let (status, body) = server.call_as(&key, Method::GET, "/v1/auth/user", None).await;

        assert_eq!((status, body["user"]["username"].as_str()), (200, Some("owner")));
    }
}

#[tokio::test]
async fn username_is_chosen_once_and_finds_its_publications() {
    let server = TestServer::open().await;
    server.template("lines", "concat").await;
    assert_eq!(server.post("/v1/dev/templates/t/publish", json!({})).await.0, 200);
    let other = server.stranger().await;
    let import = |owner: &str| format!("/v1/dev/templates/{owner}%2Ft/import");
    let ask = async |method, path: &str| server.call_as(&other, method, path, None).await;
    assert_eq!(ask(Method::POST, &import("default")).await.0, 200);

    let (status, body) = server.patch("/v1/auth/user", json!({"username": "acme"})).await;

    assert_eq!((status, &body["user"]["username"]), (200, &json!("acme")), "{body}");
    assert_eq!(server.get("/v1/auth/user").await.1["user"]["username"], "acme");
    // What was imported under the old name is there, and shows the new one.
    let (status, kept) = ask(Method::GET, "/v1/dev/templates/t").await;
    assert_eq!((status, &kept["userName"]), (200, &json!("acme")), "{kept}");
    assert_eq!(ask(Method::POST, &import("default")).await.0, 404);
    assert_eq!(ask(Method::POST, &import("acme")).await.0, 200);
    let taken =
        server.call_as(&other, Method::PATCH, "/v1/auth/user", Some(json!({"username": "ACME"})));
    assert_eq!(taken.await.0, 400);
    let (long, id) = ("x".repeat(65), server.workspace.to_string());
    for name in ["a/b", "-a", "a b", "ä", long.as_str(), id.as_str()] {
        let (status, body) = server.patch("/v1/auth/user", json!({"username": name})).await;
        assert!(status == 400 && body["message"].as_str().unwrap().starts_with("username"));
    }
    assert_eq!(server.patch("/v1/auth/user", json!({"username": "acme"})).await.0, 200);
}

#[tokio::test]
async fn api_key_that_is_wrong_or_missing_is_refused() {
    let server = TestServer::open().await;
    let ask = |body| server.call_as("", Method::POST, "/v1/auth/access_token", Some(body));

    assert_eq!(ask(json!({"apiKey": "ff_wrong"})).await.0, 401);
    let (status, body) = ask(json!({})).await;
    assert_eq!((status, body["message"].as_str()), (400, Some("apiKey: is missing")));
}

#[tokio::test]
async fn revoked_api_key_ends_its_tokens() {
    let server = TestServer::open().await;
    let (_, body) = server
        .call_as("", Method::POST, "/v1/auth/access_token", Some(json!({"apiKey": server.key})))
        .await;
    let token = body["token"].as_str().unwrap();
    let holder = api_keys::find_by_text(&server.app.db, &server.key).await.unwrap().unwrap();

    assert!(api_keys::revoke(&server.app.db, server.workspace, None, holder.key).await.unwrap());

    assert_eq!(server.call_as(token, Method::GET, "/v1/auth/user", None).await.0, 401);
    assert_eq!(server.get("/v1/auth/user").await.0, 401);
}

#[tokio::test]
async fn key_that_was_used_a_moment_ago_is_refused_as_soon_as_it_is_revoked() {
    let server = TestServer::open().await;
    let db = &server.app.db;
    let (_, key) = server.member(Role::Developer).await;
    assert_eq!(server.call_as(&key, Method::GET, "/v1/auth/user", None).await.0, 200);
    let holder = api_keys::find_by_text(db, &key).await.unwrap().unwrap();

    assert!(api_keys::revoke(db, server.workspace, None, holder.key).await.unwrap());

    assert_eq!(server.call_as(&key, Method::GET, "/v1/auth/user", None).await.0, 401);
}

#[tokio::test]
async fn member_who_asked_a_moment_ago_is_refused_as_soon_as_they_are_removed() {
    let server = TestServer::open().await;
    let db = &server.app.db;
    let (_, key) = server.member(Role::Developer).await;
    assert_eq!(server.call_as(&key, Method::GET, "/v1/auth/user", None).await.0, 200);
    let holder = api_keys::find_by_text(db, &key).await.unwrap().unwrap();

    let removed = members::remove(db, server.workspace, holder.user).await.unwrap();

    assert_eq!(removed, Changed::Done);
    assert_eq!(server.call_as(&key, Method::GET, "/v1/auth/user", None).await.0, 401);
}
