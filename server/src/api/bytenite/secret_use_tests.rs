//! Every way to use a secret, by every role, and by a key without the scope.

use common::access::Role;
use common::money::credits::Credits;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::testing::{TestServer, package};

const JOBS: &str = "/v1/customer/jobs";

/// A way to use a secret: what is asked, and what a caller must have beside `secrets:use`.
struct Way {
    name: &'static str,
    least: Role,
    method: Method,
    path: String,
    body: Value,
}

/// An address where nobody listens: what is let through is refused only by it.
fn url(secret: &str) -> Value {
    json!({"dataSourceDescriptor": "url",
           "params": {"url": "http://127.0.0.1:1/x", "secret_id": secret}})
}

fn bucket(secret: &str) -> Value {
    json!({"dataSourceDescriptor": "aws", "params": {"name": "out", "bucketName": "bbb",
           "endpoint": "http://127.0.0.1:1", "secret_id": secret}})
}

fn bypass() -> Value {
    json!({"dataSourceDescriptor": "bypass"})
}

async fn stock(server: &TestServer) -> Vec<Way> {
    let amount = Credits::from_units(100_000_000_000).unwrap();
    server.app.coordinator.grant(server.workspace, amount, "first").await.unwrap();
    for secret in [
        json!({"id": "password", "secretType": "url", "accessKey": "ann",
               "endpoint": "http://127.0.0.1:1"}),
        json!({"id": "keys", "secretType": "aws", "accessKey": "AK"}),
        json!({"id": "token", "secretType": "other"}),
    ] {
        let body = json!({"secret": secret, "secretKey": "SECRET-VALUE"});
        assert_eq!(server.post("/v1/auth/secrets", body).await.0, 200);
    }
    server.template("passthrough", "passthrough").await;
    let app = package(&listing("secretive"));
    assert_eq!(server.post("/v1/dev/apps", json!({"data": app})).await.0, 200);
    assert_eq!(server.post("/v1/dev/apps/secretive/activate", json!({})).await.0, 200);
    assert_eq!(server.post("/v1/dev/templates", template("with-secret")).await.0, 200);
    let with_source = json!({"templateId": "t", "dataSource": url("password"),
                             "dataDestination": {"dataSourceDescriptor": "bucket"}});
    let (stored, other) = (server.job(with_source.clone()).await, server.job(with_source).await);
    let plain = server.job(json!({"templateId": "t"})).await;
    let listed = json!({"app": "secretive", "dataSource": bypass(),
                        "dataDestination": {"dataSourceDescriptor": "bucket"}});
    let listed = server.job(listed).await;
    let inline = json!({"dataSourceDescriptor": "aws", "params": {"name": "n", "bucketName": "bbb",
                        "accessKey": "AK", "secretKey": "SECRET-VALUE"}});
    let inline = server.job(json!({"templateId": "t", "dataSource": inline})).await;

    let way = |name, path: String, body| Way {
        name,
        least: Role::User,
        method: Method::POST,
        path,
        body,
    };
    let patch = |name, path, body| Way { method: Method::PATCH, ..way(name, path, body) };
    let developers = |way: Way| Way { least: Role::Developer, ..way };
    let jobs = || JOBS.to_owned();
    vec![
        way("test", "/v1/customer/datasource/test".into(), json!({"dataSource": url("password")})),
        way("source", jobs(), json!({"templateId": "t", "dataSource": url("password")})),
        way("destination", jobs(), json!({"templateId": "t", "dataDestination": bucket("keys")})),
        way("template", jobs(), json!({"templateId": "with-secret"})),
        way("update", jobs(), json!({"templateId": "with-secret", "jobId": plain})),
        patch(
            "patch",
            format!("{JOBS}/{plain}/datasource"),
            json!({"dataDestination": bucket("keys")}),
        ),
        patch("rename", format!("{JOBS}/{stored}/jobname"), json!("renamed")),
        patch("params", format!("{JOBS}/{stored}/params"), json!({"app": {}})),
        way("clone", format!("{JOBS}/{stored}/clone"), json!({})),
        way("clone of keys inside", format!("{JOBS}/{inline}/clone"), json!({})),
        way("quote", format!("{JOBS}/{stored}/run?dryRun=true"), json!({})),
        way("run", format!("{JOBS}/{other}/run"), json!({})),
        way("run of a listed one", format!("{JOBS}/{listed}/run"), json!({})),
        way("app test", "/v1/dev/tests".into(), json!({"id": "a", "data": url("password")})),
        way("app test of a listed one", "/v1/dev/tests".into(), json!({"id": "secretive"})),
        developers(way("push of a template", "/v1/dev/templates".into(), template("another"))),
        developers(way(
            "push of an app",
            "/v1/dev/apps".into(),
            json!({"data": package(&listing("other"))}),
        )),
    ]
}

fn listing(name: &str) -> Value {
    json!({"name": name, "version": "0.1", "platform": "docker", "entrypoint": "main",
           "platform_config": {"container": "r.example/a:1", "secrets": ["token"]}})
}

fn template(id: &str) -> Value {
    json!({"id": id, "app": "a", "partitioner": "passthrough", "assembler": "passthrough",
           "dataSource": url("password")})
}

/// A key of the first member with these scopes.
async fn key(server: &TestServer, scopes: &[&str]) -> String {
    let body = json!({"name": scopes.join(" "), "scopes": scopes});
    let (status, made) = server.post("/v1/auth/api_key", body).await;
    assert_eq!(status, 200, "{made}");
    made["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn secret_use_requires_its_scope_in_every_way() {
    let server = TestServer::open().await;
    let ways = stock(&server).await;
    let others = ["jobs:read", "jobs:write", "packages:read", "packages:write", "secrets:read"];
    let without = key(&server, &[others.as_slice(), &["secrets:write"]].concat()).await;
    let with = key(&server, &[others.as_slice(), &["secrets:use"]].concat()).await;
    let mut callers = vec![("a key without the scope", Role::None, without)];
    for role in [Role::None, Role::User, Role::Developer, Role::Admin] {
        callers.push((role.name(), role, server.member(role).await.1));
    }
    callers.push(("a key with the scope", Role::Admin, with));

    for way in &ways {
        for (caller, role, key) in &callers {
            let body = Some(way.body.clone());
            let (status, answer) = server.call_as(key, way.method.clone(), &way.path, body).await;

            let what = format!("{} by {caller}: {status} {answer}", way.name);
            assert_eq!(status == 403, *role < way.least, "{what}");
            assert_ne!(status, 401, "{what}");
            assert!(!answer.to_string().contains("SECRET-VALUE"), "{what}");
            if *caller == "a key without the scope" {
                let message = answer["message"].as_str().unwrap();
                assert!(message.contains("secrets:use"), "{what}");
                assert!(message.contains(": using a secret: "), "names the field: {what}");
            }
        }
    }
}

#[tokio::test]
async fn inline_keys_of_a_descriptor_require_no_scope() {
    let server = TestServer::open().await;
    server.template("passthrough", "passthrough").await;
    let key = key(&server, &["jobs:read", "jobs:write"]).await;
    let inline = json!({"dataSourceDescriptor": "aws", "params": {"name": "n", "bucketName": "bbb",
                        "accessKey": "AK", "secretKey": "SECRET-VALUE"}});
    let job = json!({"templateId": "t", "dataSource": inline});

    let (status, made) = server.call_as(&key, Method::POST, JOBS, Some(job)).await;

    assert_eq!(status, 200, "{made}");
    let path = format!("{JOBS}/{}/jobname", made["job"]["id"].as_str().unwrap());
    assert_eq!(server.call_as(&key, Method::PATCH, &path, Some(json!("x"))).await.0, 200);
}

#[tokio::test]
async fn registry_login_of_a_package_cannot_be_named_or_deleted() {
    let server = TestServer::open().await;
    let manifest = json!({"name": "priv", "version": "1.0", "platform": "docker",
        "entrypoint": "main", "platform_config": {"container": "r.example/a:1",
        "private_image": true, "username": "deploy", "token": "REGISTRY-TOKEN"}});
    let (status, body) = server.post("/v1/dev/apps", json!({"data": package(&manifest)})).await;
    assert_eq!(status, 200, "{body}");

    let id = "image/app/priv@1.0";
    for kind in ["other", "registry", "aws"] {
        let path = format!("/v1/auth/secrets/{kind}/{}", id.replace('/', "%2F"));
        assert_ne!(server.call(Method::DELETE, &path, None).await.0, 200, "{kind}");
    }
    let body = json!({"secret": {"id": id, "secretType": "other"}, "secretKey": "x"});
    assert_eq!(server.post("/v1/auth/secrets", body).await.0, 400);
    for place in [url(id), bucket(id)] {
        let body = json!({"dataSource": place});
        let (status, answer) = server.post("/v1/customer/datasource/test", body).await;
        assert_eq!(status, 400, "{answer}");
        let message = answer["message"].as_str().unwrap();
        assert!(message.starts_with("dataSource.params.secret_id: must be the id"), "{message}");
    }
}
