//! Packages, templates, images and cached files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::api::testing::package;

/// Posts an archive as it is.
async fn push(server: &TestServer, path: &str, manifest: &Value) -> (u16, Value) {
    let archive = STANDARD.decode(package(manifest)).unwrap();
    let request = server.client.post(format!("{}{path}", server.url)).body(archive);
    let answer = request.header("authorization", &server.key).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn app(version: &str) -> Value {
    json!({"name": "b", "version": version, "platform": "binary", "entrypoint": "main"})
}

#[tokio::test]
async fn package_is_pushed_listed_activated_downloaded_and_deleted() {
    let server = TestServer::open().await;

    let (status, pushed) = push(&server, "/v1/apps", &app("0.1")).await;
    let (_, newer) = push(&server, "/v1/apps", &app("0.2")).await;
    let (_, active) = server.post("/v1/apps/b/activate", json!({})).await;
    let (_, inactive) = server.post("/v1/apps/b/deactivate", json!({})).await;

    assert_eq!((status, &pushed["kind"], &pushed["revision"]), (200, &json!("app"), &json!(1)));
    assert_eq!((&pushed["platform"], &pushed["image"]), (&json!("binary"), &Value::Null));
    assert_eq!(pushed["owner"]["id"], json!(server.workspace));
    assert_eq!((&active["version"], &active["is_active"]), (&json!("0.2"), &json!(true)));
    assert_eq!(inactive["is_active"], false);
    let page = read(&server, "/v1/apps?limit=1").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = read(&server, &format!("/v1/apps?limit=1&cursor={cursor}")).await;
    assert_eq!(
        [&page["packages"][0]["id"], &rest["packages"][0]["id"]],
        [&newer["id"], &pushed["id"]]
    );
    assert_eq!(read(&server, "/v1/apps/b@0.1").await, pushed);
    let link = read(&server, "/v1/apps/b@0.1/download").await;
    let got = server.client.get(link["link"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(got.bytes().await.unwrap().len() as u64, pushed["size"].as_u64().unwrap());
    let (status, refused) = server.call(Method::DELETE, "/v1/apps/b", None).await;
    assert_eq!((status, problem(&refused).1), (400, "tag"), "{refused}");
    assert_eq!(server.call(Method::DELETE, "/v1/apps/b@0.1", None).await.0, 200);
    assert_eq!(server.get("/v1/apps/b@0.1").await.0, 404);
    assert_eq!(read(&server, "/v1/engines").await["packages"], json!([]));
}

#[tokio::test]
async fn push_that_cannot_be_a_package_is_refused_by_field() {
    let server = TestServer::open().await;
    let engine = json!({"name": "c", "version": "0.1", "type": "partitioner",
                        "platform": "binary", "entrypoint": "main"});

    let (status, no_archive) = server.post("/v1/apps", json!({"data": "x"})).await;
    let (other_status, other) = push(&server, "/v1/apps", &engine).await;
    let (wrong_status, wrong) = push(&server, "/v1/apps", &app("x")).await;

    assert_eq!((status, problem(&no_archive)), (400, ("INVALID_ARGUMENT", "body")), "{no_archive}");
    assert_eq!((other_status, problem(&other).1), (400, "manifest.json.type"), "{other}");
    assert!(other["detail"].as_str().unwrap().contains("/v1/engines"), "{other}");
    assert_eq!((wrong_status, problem(&wrong).1), (400, "manifest.json.version"), "{wrong}");
    assert_eq!(push(&server, "/v1/engines", &engine).await.0, 200);
}

#[tokio::test]
async fn package_and_template_are_published_and_imported() {
    let server = granted().await;
    let stranger = server.stranger().await;
    let as_stranger =
        async |method: Method, path: &str| server.call_as(&stranger, method, path, None).await;
    assert_eq!(as_stranger(Method::POST, "/v1/apps/a/import").await.0, 404);

    let (_, published) = server.post("/v1/apps/a/publish", json!({})).await;
    let (_, template) = server.post("/v1/templates/t/publish", json!({})).await;
    let (status, import) = as_stranger(Method::POST, "/v1/apps/a/import").await;
    let (_, imported) = as_stranger(Method::POST, "/v1/templates/t/import").await;

    assert_eq!((&published["is_public"], &template["is_public"]), (&json!(true), &json!(true)));
    assert_eq!((status, &import["owner"]["id"]), (200, &json!(server.workspace)), "{import}");
    assert_eq!((&import["name"], &imported["name"]), (&json!("a"), &json!("t")));
    let (_, listed) = as_stranger(Method::GET, "/v1/templates").await;
    assert_eq!(listed["templates"][0]["id"], "t");
    assert_eq!(as_stranger(Method::DELETE, "/v1/apps/a/import").await.0, 200);
    assert_eq!(as_stranger(Method::DELETE, "/v1/templates/t/import").await.0, 200);
    assert_eq!(as_stranger(Method::GET, "/v1/apps/a@0.1").await.0, 404);
    let (_, hidden) = server.post("/v1/apps/a/unpublish", json!({})).await;
    assert_eq!(hidden["is_public"], false);
    let (_, hidden) = server.post("/v1/templates/t/unpublish", json!({})).await;
    assert_eq!(hidden["is_public"], false);
    let public = read(&server, "/v1/apps?public=true").await;
    assert_eq!(public["packages"], json!([]));
    assert_eq!(server.get("/v1/apps?public=x").await.0, 400);
}

#[tokio::test]
async fn template_is_put_replaced_listed_and_deleted() {
    let server = granted().await;
    let template = |description: &str| {
        json!({"id": "u", "description": description, "app": "a@0.1", "partitioner": "lines",
               "assembler": "concat", "source": {"type": "bypass"},
               "destination": {"type": "bucket"},
               "params": {"partitioner": {"chunk_bytes": 5}, "app": {"x": 0.10}},
               "config": {"task_timeout": 60}})
    };

    let (status, first) = server.post("/v1/templates", template("first")).await;
    let (_, second) = server.post("/v1/templates", template("second")).await;

    assert_eq!((status, &first["description"]), (200, &json!("first")), "{first}");
    let shown = read(&server, "/v1/templates/u").await;
    assert_eq!([&shown["description"], &shown], [&json!("second"), &second]);
    assert_eq!(shown["params"]["partitioner"], json!({"chunk_bytes": 5}));
    assert_eq!(
        (&shown["config"]["task_timeout"], &shown["source"]),
        (&json!(60), &json!({"type": "bypass"}))
    );
    let page = read(&server, "/v1/templates?limit=1").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = read(&server, &format!("/v1/templates?limit=1&cursor={cursor}")).await;
    assert_eq!((&page["templates"][0]["id"], &rest["templates"][0]), (&json!("t"), &shown));
    for (change, field) in [
        (json!({"id": "a/b"}), "id"),
        (json!({"app": ""}), "app"),
        (json!({"app": "a@x"}), "app"),
        (json!({"source": {"type": "bucket"}}), "source.type"),
        (json!({"config": {"task_timeout": -1}}), "config.task_timeout"),
        (json!({"params": {"partitioner": {"chunk_bytes": 0}}}), "params.partitioner.chunk_bytes"),
        (json!({"params": {"data": {}}}), "params.data"),
    ] {
        let mut body = template("x");
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (status, refused) = server.post("/v1/templates", body).await;
        assert_eq!((status, problem(&refused).1), (400, field), "{refused}");
    }
    assert_eq!(
        server.call(Method::DELETE, "/v1/templates/u", None).await,
        (200, json!({"id": "u"}))
    );
    assert_eq!(server.get("/v1/templates/u").await.0, 404);
}

#[tokio::test]
async fn image_that_is_not_announced_rightly_is_refused() {
    let server = TestServer::open().await;
    let digest = "0".repeat(64);

    for (query, field) in [
        (format!("digest={digest}"), "reference"),
        ("reference=a:1".to_owned(), "digest"),
        ("reference=a:1&digest=x".to_owned(), "digest"),
        (format!("reference=a:1&digest={digest}&size=x"), "size"),
    ] {
        let (status, refused) = server.post(&format!("/v1/images?{query}"), json!({})).await;
        assert_eq!((status, problem(&refused).1), (400, field), "{refused}");
    }
    let push = format!("/v1/images?reference=a:1&digest={digest}");
    assert_eq!(server.post(&push, json!({})).await.0, 400);
    assert_eq!(server.get("/v1/images/a%3A1").await.0, 404);
}

#[tokio::test]
async fn cached_file_is_uploaded_listed_and_deleted() {
    let server = TestServer::open().await;
    let (status, made) = server.post("/v1/cache", json!({"name": "models/a.bin"})).await;
    assert_eq!(status, 200, "{made}");
    let put = server.client.put(made["link"].as_str().unwrap()).body("bytes").send().await.unwrap();
    assert_eq!(put.status(), 200);

    let listed = read(&server, "/v1/cache").await;

    let file = &listed["files"][0];
    assert_eq!((&file["name"], &file["size"]), (&json!("models/a.bin"), &json!(5)));
    assert_eq!(read(&server, "/v1/cache?shared=true").await["files"], json!([]));
    let path = "/v1/cache/models%2Fa.bin";
    assert_eq!(server.call(Method::DELETE, path, None).await.0, 200);
    assert_eq!(server.call(Method::DELETE, path, None).await.0, 404);
    for name in ["", "..", "/etc/x"] {
        let (status, refused) = server.post("/v1/cache", json!({"name": name})).await;
        assert_eq!((status, problem(&refused).1), (400, "name"), "{refused}");
    }
    let stranger = server.stranger().await;
    let shared = Some(json!({"name": "a", "shared": true}));
    let (status, _) = server.call_as(&stranger, Method::POST, "/v1/cache", shared).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn app_is_tested_by_its_tag_and_its_latest_test_is_found() {
    let server = granted().await;
    let body = json!({"app": "a@0.1", "source": {"type": "bypass"}, "config": {"task_timeout": 5}});

    let (status, test) = server.post_named("k", "/v1/app_tests", &body).await;
    let (_, again) = server.post_named("k", "/v1/app_tests", &body).await;

    assert_eq!((status, &test["id"]), (200, &again["id"]), "{test}");
    assert_eq!((&test["app"], &test["passed"]), (&json!("a@0.1"), &Value::Null));
    let path = format!("/v1/app_tests/{}", test["id"].as_str().unwrap());
    assert_eq!(read(&server, &path).await["id"], test["id"]);
    assert_eq!(read(&server, "/v1/app_tests/a@0.1").await["id"], test["id"]);
    for (body, field) in [
        (json!({}), "app"),
        (json!({"app": "a", "source": {"type": "bucket"}}), "source.type"),
        (json!({"app": "a", "config": {"task_timeout": -1}}), "config.task_timeout"),
    ] {
        let (status, refused) = server.post("/v1/app_tests", body).await;
        assert_eq!((status, problem(&refused).1), (400, field), "{refused}");
    }
    assert_eq!(server.post("/v1/app_tests", json!({"app": "nothing"})).await.0, 404);
}
