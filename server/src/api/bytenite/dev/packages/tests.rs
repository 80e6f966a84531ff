//! What developers do with packages.

use reqwest::Method;

use serde_json::{Value, json};

use super::*;
use crate::api::testing::{TestServer, package};

fn manifest(version: &str) -> Value {
    json!({"name": "a", "version": version, "platform_config": {"container": "python:3"}})
}

#[tokio::test]
async fn app_is_pushed_found_by_tag_and_switched() {
    let server = TestServer::open().await;
    for version in ["0.1", "0.10", "0.9", "1.0"] {
        let body = json!({"data": package(&manifest(version))});
        let (status, body) = server.post("/v1/dev/apps", body).await;
        assert_eq!((status, body["revision"].as_str()), (200, Some("1")), "{body}");
        assert_eq!(body["status"], "inactive");
    }
    let version = async |tag: &str| {
        let (_, body) = server.get(&format!("/v1/dev/apps/{tag}")).await;
        body["app"]["version"].as_str().map(ToOwned::to_owned)
    };

    assert_eq!(version("a").await.as_deref(), Some("1.0"));
    assert_eq!(version("a@0").await.as_deref(), Some("0.10"));
    assert_eq!(version("a%400.9").await.as_deref(), Some("0.9"));
    assert_eq!(version("a@2").await, None);
    assert_eq!(server.post("/v1/dev/apps/a@0.9/activate", json!({})).await.0, 200);
    let (_, body) = server.get("/v1/dev/apps/a@0.9/status").await;
    assert_eq!(body["message"], "active");
    let (_, list) = server.get("/v1/dev/apps?pagination.limit=3").await;
    assert_eq!(list["apps"].as_array().unwrap().len(), 3);
    assert_eq!(list["pagination"]["hasNext"], true);
}

#[tokio::test]
async fn push_of_the_same_version_replaces_it_under_its_id() {
    let server = TestServer::open().await;
    let push =
        async || server.post("/v1/dev/apps", json!({"data": package(&manifest("0.1"))})).await.1;

    let (first, second) = (push().await, push().await);

    assert_eq!(first["id"], second["id"]);
    assert_eq!(second["revision"], "2");
}

#[tokio::test]
async fn repeated_push_of_one_name_is_one_revision() {
    let server = TestServer::open().await;
    let body = json!({"data": package(&manifest("0.1"))});
    let push = async || server.post_named("k", "/v1/dev/apps", &body).await.1;

    let (first, second) = (push().await, push().await);

    assert_eq!((&first["id"], &first["revision"]), (&second["id"], &json!("1")));
    assert_eq!(second["revision"], "1");
}

#[tokio::test]
async fn package_is_hidden_from_another_workspace() {
    let server = TestServer::open().await;
    server.post("/v1/dev/apps", json!({"data": package(&manifest("0.1"))})).await;
    let stranger = server.stranger().await;

    let (status, _) = server.call_as(&stranger, Method::GET, "/v1/dev/apps/a", None).await;
    let (_, list) = server.call_as(&stranger, Method::GET, "/v1/dev/apps", None).await;

    assert_eq!((status, list["pagination"]["total"].as_u64()), (404, Some(0)));
}

#[tokio::test]
async fn engines_are_pushed_in_all_three_forms() {
    let server = TestServer::open().await;
    let mut manifest = manifest("0.1");
    manifest["type"] = json!("partitioner");
    let data = package(&manifest);
    let encoded: String = url::form_urlencoded::byte_serialize(data.as_bytes()).collect();

    let (_, body) = server.post("/v1/dev/engines", json!({"data": data})).await;
    assert_eq!((&body["revision"], &body["type"]), (&json!(1), &json!("partitioner")));
    let (_, body) = server.post("/v1/dev/engines", json!({"engineData": data})).await;
    assert_eq!(body["revision"], 2);
    let path = format!("/v1/dev/engines?engineData={encoded}");
    let (_, body) = server.call(Method::POST, &path, None).await;
    assert_eq!(body["revision"], 3);

    let other = json!({"engineData": data, "engineTag": "b@0.1"});
    let (status, body) = server.post("/v1/dev/engines", other).await;
    assert_eq!(status, 400);
    assert!(body["message"].as_str().unwrap().starts_with("engineTag: "), "{body}");
    let path = "/v1/dev/engines?engineTag=a@0.1";
    assert_eq!(server.post(path, json!({"engineData": data})).await.0, 200);

    let (status, body) = server.post("/v1/dev/engines/a/activate", json!({})).await;
    assert_eq!((status, &body["engineStatus"]), (200, &json!("active")));
    manifest["type"] = json!("assembler");
    let (status, body) = server.post("/v1/dev/engines", json!({"data": package(&manifest)})).await;
    assert_eq!(status, 400);
    assert!(body["message"].as_str().unwrap().contains("there already as a partitioner"));
}

#[tokio::test]
async fn invalid_pushes_are_refused_by_name() {
    let server = TestServer::open().await;
    let engine = json!({"name": "a", "version": "0.1", "type": "assembler",
                        "platform_config": {"container": "c"}});
    for (body, says) in [
        (json!({}), "data: is missing"),
        (json!({"data": "%%%"}), "data: is not base64"),
        (json!({"data": "AAAA"}), "data: "),
        (json!({"data": package(&json!({"name": "a"}))}), "manifest.json.version"),
        (json!({"data": package(&engine)}), "manifest.json.type"),
    ] {
        let (status, body) = server.post("/v1/dev/apps", body).await;

        assert_eq!(status, 400);
        assert!(body["message"].as_str().unwrap().contains(says), "{body}");
    }
    assert_eq!(server.get("/v1/dev/apps/..%2Fa%20b").await.0, 400);
    assert_eq!(server.get("/v1/dev/apps/..%2Fx").await.0, 404, "nobody is called ..");
}

#[tokio::test]
async fn package_is_downloaded_as_it_was_pushed() {
    let server = TestServer::open().await;
    let data = package(&manifest("0.1"));
    server.post("/v1/dev/apps", json!({"data": data})).await;

    let (_, body) = server.get("/v1/dev/apps/a/download").await;
    let link = body["message"].as_str().unwrap();
    let bytes = server.client.get(link).send().await.unwrap().bytes().await.unwrap();

    assert_eq!(base64::engine::general_purpose::STANDARD.encode(bytes), data);
}

#[tokio::test]
async fn version_is_deleted_by_its_full_tag_and_its_owner_only() {
    let server = TestServer::open().await;
    for version in ["0.1", "0.2"] {
        server.post("/v1/dev/apps", json!({"data": package(&manifest(version))})).await;
    }
    let stranger = server.stranger().await;
    let delete = async |key: &str, tag: &str| {
        let path = format!("/v1/dev/apps/{tag}");
        server.call_as(key, Method::DELETE, &path, None).await.0
    };

    assert_eq!(delete(&stranger, "a@0.2").await, 404);
    assert_eq!((delete(&server.key, "a").await, delete(&server.key, "a@0").await), (400, 400));
    assert_eq!(delete(&server.key, "a@0.2").await, 200);

    let (_, left) = server.get("/v1/dev/apps/a").await;
    assert_eq!(left["app"]["version"], "0.1");
    assert_eq!(delete(&server.key, "a@0.2").await, 404);
    let (_, again) = server.post("/v1/dev/apps", json!({"data": package(&manifest("0.2"))})).await;
    assert_eq!(again["revision"], "1");
}

#[tokio::test]
async fn package_lists_are_sorted_as_requested() {
    let server = TestServer::open().await;
    for version in ["0.9", "0.10", "1.0"] {
        server.post("/v1/dev/apps", json!({"data": package(&manifest(version))})).await;
    }
    server.post("/v1/dev/apps/a@0.10/activate", json!({})).await;
    for (order, expected) in [
        ("", ["1.0", "0.10", "0.9"]),
        ("version", ["0.9", "0.10", "1.0"]),
        ("createdAt:desc", ["1.0", "0.10", "0.9"]),
        ("status+desc,version", ["0.10", "0.9", "1.0"]),
    ] {
        let (_, list) = server.get(&format!("/v1/dev/apps?orderBy={order}")).await;

        let apps = list["apps"].as_array().unwrap();
        let versions: Vec<_> = apps.iter().map(|app| app["version"].as_str().unwrap()).collect();
        assert_eq!(versions, expected, "{order}");
    }
    assert_eq!(server.get("/v1/dev/apps?orderBy=secret").await.0, 400);
}
