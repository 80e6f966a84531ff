//! What others can do with what is published, and what they cannot.

use common::money::credits::Credits;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::testing::{TestServer, binary, package};
use crate::store::people::{api_keys, workspaces};

/// Another workspace of this name, with credits.
async fn neighbour(server: &TestServer, name: &str) -> String {
    let db = &server.app.db;
    let workspace = workspaces::create_workspace(db, name).await.unwrap();
    let user = workspaces::create_user(db, workspace, name).await.unwrap();
    let amount = Credits::from_units(100_000_000_000).unwrap();
    server.app.coordinator.grant(workspace, amount, name).await.unwrap();
    api_keys::issue(db, workspace, user, "key").await.unwrap()
}

async fn push(server: &TestServer, key: &str, manifest: &Value) {
    let body = json!({"data": package(manifest)});
    let (status, body) = server.call_as(key, Method::POST, "/v1/dev/apps", Some(body)).await;
    assert_eq!(status, 200, "{body}");
}

async fn post(server: &TestServer, key: &str, path: &str) -> (u16, Value) {
    server.call_as(key, Method::POST, &format!("/v1/dev/{path}"), None).await
}

async fn get(server: &TestServer, key: &str, path: &str) -> (u16, Value) {
    server.call_as(key, Method::GET, &format!("/v1/dev/{path}"), None).await
}

/// Makes a job of an app alone and starts it.
async fn run(server: &TestServer, key: &str, mut job: Value) -> (u16, String) {
    job["dataSource"] = json!({"dataSourceDescriptor": "bypass"});
    job["dataDestination"] = json!({"dataSourceDescriptor": "bucket"});
    let (status, made) = server.call_as(key, Method::POST, "/v1/customer/jobs", Some(job)).await;
    assert_eq!(status, 200, "{made}");
    let path = format!("/v1/customer/jobs/{}/run", made["job"]["id"].as_str().unwrap());
    let (status, body) = server.call_as(key, Method::POST, &path, None).await;
    (status, body["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn published_app_is_found_imported_and_run_until_it_is_withdrawn() {
    let server = TestServer::open().await;
    let maria = neighbour(&server, "maria").await;
    push(&server, &server.key, &binary("a", "0.1")).await;
    post(&server, &server.key, "apps/a/activate").await;
    let id = get(&server, &server.key, "apps/a").await.1["app"]["id"].as_str().unwrap().to_owned();

    for path in ["apps/a".to_owned(), "apps/default%2Fa".to_owned(), format!("apps/{id}")] {
        assert_eq!(get(&server, &maria, &path).await.0, 404, "{path}");
        assert_eq!(get(&server, &maria, &format!("{path}/download")).await.0, 404, "{path}");
        assert_eq!(post(&server, &maria, &format!("{path}/import")).await.0, 404, "{path}");
    }
    assert_eq!(post(&server, &maria, "apps/a/publish").await.0, 404);
    assert_eq!(post(&server, &server.key, "apps/a/publish").await.0, 200);

    let (_, catalogue) = get(&server, &maria, "apps?isPublic=true").await;
    let found = &catalogue["apps"][0];
    assert_eq!((&found["isPublic"], &found["userName"]), (&json!(true), &json!("default")));
    assert_eq!(get(&server, &maria, "apps").await.1["pagination"]["total"], 0);
    assert_eq!(get(&server, &maria, "apps/default%2Fa/download").await.0, 200);
    let (status, imported) = post(&server, &maria, "apps/a/import").await;
    assert_eq!((status, &imported["userName"]), (200, &json!("default")), "{imported}");
    assert_eq!(get(&server, &maria, "apps").await.1["pagination"]["total"], 1);
    assert_eq!(run(&server, &maria, json!({"app": "a"})).await.0, 200);

    // Nobody but its owner changes it.
    for change in ["activate", "deactivate", "publish", "unpublish"] {
        assert_eq!(post(&server, &maria, &format!("apps/a/{change}")).await.0, 403, "{change}");
    }
    let delete = server.call_as(&maria, Method::DELETE, "/v1/dev/apps/a@0.1", None).await;
    assert_eq!(delete.0, 403);

    assert_eq!(post(&server, &server.key, "apps/a/unpublish").await.0, 200);
    let (status, why) = run(&server, &maria, json!({"app": "a"})).await;
    assert_eq!(status, 400);
    assert!(why.contains("its owner does not publish it any more"), "{why}");
    assert_eq!(get(&server, &maria, "apps/a").await.0, 404);
    assert_eq!(run(&server, &server.key, json!({"app": "a"})).await.0, 400, "no credits");
}

#[tokio::test]
async fn package_name_is_own_or_imported_and_never_both() {
    let server = TestServer::open().await;
    let (maria, paul) = (neighbour(&server, "maria").await, neighbour(&server, "paul").await);
    for (key, version) in [(&maria, "0.1"), (&paul, "9.9")] {
        push(&server, key, &binary("a", version)).await;
        post(&server, key, "apps/a/publish").await;
    }
    let version = async || {
        let (_, body) = get(&server, &server.key, "apps/a").await;
        body["app"]["version"].as_str().map(ToOwned::to_owned)
    };

    let (status, several) = post(&server, &server.key, "apps/a/import").await;
    assert_eq!(status, 400);
    assert!(several["message"].as_str().unwrap().contains("OWNER/NAME"), "{several}");
    assert_eq!(post(&server, &server.key, "apps/maria%2Fa/import").await.0, 200);
    assert_eq!(version().await.as_deref(), Some("0.1"));
    assert_eq!(post(&server, &server.key, "apps/paul%2Fa@9/import").await.0, 200);
    assert_eq!(version().await.as_deref(), Some("9.9"));

    push(&server, &server.key, &binary("a", "0.2")).await;
    assert_eq!(version().await.as_deref(), Some("0.2"));
    assert_eq!(get(&server, &server.key, "apps/a@9").await.0, 404);
    assert_eq!(post(&server, &server.key, "apps/maria%2Fa/import").await.0, 400);

    let forget = server.call_as(&server.key, Method::DELETE, "/v1/dev/apps/a/import", None).await;
    assert_eq!(forget.0, 404, "pushing has ended the import");
}

#[tokio::test]
async fn imported_app_gets_no_secret_without_consent() {
    let server = TestServer::open().await;
    let maria = neighbour(&server, "maria").await;
    let asking = |secrets: Value| {
        json!({"name": "a", "version": "0.1", "entrypoint": "main.py",
               "platform_config": {"container": "c", "secrets": secrets}})
    };
    push(&server, &server.key, &asking(json!(["weather"]))).await;
    post(&server, &server.key, "apps/a/activate").await;
    post(&server, &server.key, "apps/a/publish").await;

    let (_, imported) = post(&server, &maria, "apps/a/import").await;
    push(&server, &server.key, &asking(json!(["weather", "bank"]))).await;
    let (status, why) = run(&server, &maria, json!({"app": "a"})).await;

    assert_eq!(imported["secrets"], json!(["weather"]));
    assert_eq!(status, 400);
    assert!(why.contains("asks for the secret \"bank\""), "{why}");
}

#[tokio::test]
async fn shared_template_uses_its_owners_packages_and_no_secret_of_its_user() {
    let server = TestServer::open().await;
    let maria = neighbour(&server, "maria").await;
    server.template("passthrough", "passthrough").await;
    let place = json!({"dataSourceDescriptor": "url",
                       "params": {"url": "https://evil.example", "username": "u", "secret_id": "s"}});
    let template = json!({"id": "t", "app": "a", "partitioner": "passthrough",
                          "assembler": "passthrough", "dataSource": place});
    assert_eq!(server.post("/v1/dev/templates", template).await.0, 200);
    push(&server, &maria, &binary("a", "7.7")).await;

    assert_eq!(get(&server, &maria, "templates/default%2Ft").await.0, 404);
    assert_eq!(post(&server, &maria, "templates/t/import").await.0, 404);
    assert_eq!(post(&server, &maria, "templates/t/publish").await.0, 404);
    assert_eq!(post(&server, &server.key, "templates/t/publish").await.0, 200);
    assert_eq!(post(&server, &maria, "templates/default%2Ft/import").await.0, 200);

    let (_, seen) = get(&server, &maria, "templates/t").await;
    assert_eq!((&seen["userName"], &seen["isPublic"]), (&json!("default"), &json!(true)));
    assert_eq!(seen["dataSource"], Value::Null);
    let (status, why) = run(&server, &maria, json!({"templateId": "t"})).await;
    assert_eq!(status, 400);
    assert!(why.contains("is not published by the template's owner"), "{why}");
    assert_eq!(post(&server, &server.key, "apps/a/publish").await.0, 200);
    assert_eq!(run(&server, &maria, json!({"templateId": "t"})).await.0, 200);

    let lists = async |query: &str| {
        let (_, body) = get(&server, &maria, &format!("templates{query}")).await;
        body["pagination"]["total"].as_u64().unwrap()
    };
    assert_eq!((lists("").await, lists("?isPublic=true").await), (1, 1));
    assert_eq!(lists("?isPublic=false").await, 0);
    assert_eq!(get(&server, &maria, "templates?isPublic=maybe").await.0, 400);
    post(&server, &server.key, "templates/t/unpublish").await;
    assert_eq!(get(&server, &maria, "templates/t").await.0, 404);
}
