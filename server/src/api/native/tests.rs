//! The API through its socket, with a node that the test plays.

mod calls;
mod definitions;
mod drafts;
mod lines;
mod people;
mod queues;
mod retries;
mod runs;
mod schedules;
mod wallet;
mod workflows;

use std::collections::BTreeMap;

use common::access::Role;
use common::money::credits::Credits;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::testing::TestServer;
use crate::store::nodes;

/// A server with credits in the wallet and a template `t` that makes three chunks.
async fn granted() -> TestServer {
    let server = TestServer::open().await;
    let amount = Credits::from_units(100_000_000_000).unwrap();
    server.app.coordinator.grant(server.workspace, amount, "first").await.unwrap();
    server.template("replicate", "zip").await;
    server
}

fn three_chunks() -> Value {
    json!({"template": "t", "name": "n", "source": {"type": "bypass"},
           "destination": {"type": "bucket"},
           "params": {"partitioner": {"num_replicas": 3}, "app": {"x": 0.10}},
           "config": {"task_timeout": 60, "deterministic": true}})
}

async fn make(server: &TestServer, body: Value) -> String {
    let (status, job) = server.post("/v1/jobs", body).await;
    assert_eq!(status, 200, "{job}");
    job["id"].as_str().unwrap().to_owned()
}

/// Starts a job and gives its run.
async fn start(server: &TestServer, job: &str) -> Value {
    let (status, started) = server.post(&format!("/v1/jobs/{job}/runs"), json!({})).await;
    assert_eq!(status, 200, "{started}");
    started["run"].clone()
}

async fn read(server: &TestServer, path: &str) -> Value {
    let (status, body) = server.get(path).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

/// The code and the field of a refusal.
fn problem(body: &Value) -> (&str, &str) {
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    (text("code"), text("field"))
}

#[tokio::test]
async fn draft_is_made_read_listed_and_deleted() {
    let server = granted().await;
    let (_, made) = server.post("/v1/jobs", three_chunks()).await;
    let job = format!("/v1/jobs/{}", made["id"].as_str().unwrap());

    let shown = read(&server, &job).await;
    let listed = read(&server, "/v1/jobs?state=new").await;
    let running = read(&server, "/v1/jobs?state=running").await;
    let runs = read(&server, &format!("{job}/runs")).await;

    assert_eq!([&shown, &listed["jobs"][0]], [&made, &made]);
    assert_eq!((&shown["state"], &shown["run"]), (&json!("new"), &Value::Null));
    assert_eq!(
        shown["template"],
        json!({"id": "t", "app": "a", "partitioner": "replicate",
                                         "assembler": "zip"})
    );
    assert_eq!(shown["source"], json!({"type": "bypass"}));
    assert_eq!(shown["destination"], json!({"type": "bucket"}));
    assert_eq!(shown["params"]["partitioner"], json!({"num_replicas": 3}));
    assert_eq!(shown["config"]["task_timeout"], 60);
    assert_eq!((&running["jobs"], &runs["runs"]), (&json!([]), &json!([])));
    assert_eq!(server.call(Method::DELETE, &job, None).await, (200, json!({"id": made["id"]})));
    assert_eq!(server.get(&job).await.0, 404);
}

#[tokio::test]
async fn locations_are_shown_as_they_were_given() {
    let server = granted().await;
    let cloud = json!({"type": "cloud", "provider": "aws", "bucket": "b", "region": "eu-1"});
    let with = |more: Value| {
        let mut location = cloud.clone();
        location.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        location
    };
    let source = with(json!({"paths": ["in/", "a.csv"], "secret": "keys"}));
    let destination = with(json!({"folder": "out/"}));
    let url = json!({"type": "url", "url": "https://example.com/a.csv"});
    let file = json!({"type": "file", "name": "a.csv"});

    for source in [source, url, file] {
        let body = json!({"template": "t", "source": source, "destination": destination});
        let (status, job) = server.post("/v1/jobs", body).await;

        assert_eq!((status, &job["source"]), (200, &source), "{job}");
        assert_eq!(job["destination"], destination);
        let is_file = source["type"] == "file";
        assert_eq!(job["upload_link"].is_string(), is_file, "{job}");
    }
}

#[tokio::test]
async fn wrong_body_is_a_problem_that_names_its_field() {
    let server = granted().await;
    let cloud = |more: Value| {
        let mut source = json!({"type": "cloud", "provider": "aws", "bucket": "b", "paths": ["a"]});
        source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"template": "t", "source": source})
    };
    for (body, field) in [
        (json!({}), "template"),
        (json!({"template": 7}), "template"),
        (json!({"template": "t", "packages": {"app": "a"}}), "template"),
        (json!({"packages": {"partitioner": "lines"}}), "packages.app"),
        (json!({"packages": {"app": "a@x"}}), "packages.app"),
        (json!({"template": "t", "description": "x".repeat(4001)}), "description"),
        (json!({"template": "t", "priority": "urgent"}), "priority"),
        (json!({"template": "t", "start_at": "tomorrow"}), "start_at"),
        (json!({"template": "t", "start_at": "2999-01-01T00:00:00Z"}), "start_at"),
        (json!({"template": "t", "tags": ["a\nb"]}), "tags"),
        (json!({"template": "t", "regions": {"only": []}}), "regions.only"),
        (json!({"template": "t", "nosuchfield": 1}), "nosuchfield"),
        (json!({"template": "t", "name": "x".repeat(257)}), "name"),
        (json!({"template": "t", "source": {"type": "bucket"}}), "source.type"),
        (json!({"template": "t", "source": {"type": "bypass", "url": "x"}}), "source.url"),
        (json!({"template": "t", "source": {"type": "url", "url": "ftp://a"}}), "source.url"),
        (json!({"template": "t", "source": {"type": "file", "name": "a/b"}}), "source.name"),
        (json!({"template": "t", "destination": {"type": "file"}}), "destination.type"),
        (cloud(json!({"paths": []})), "source.paths"),
        (cloud(json!({"paths": ["a", "../b"]})), "source.paths[1]"),
        (cloud(json!({"provider": "mine"})), "source.provider"),
        (cloud(json!({"provider": "azure"})), "source.account"),
        (cloud(json!({"bucket": "a/b"})), "source.bucket"),
        (cloud(json!({"endpoint": "b.example"})), "source.endpoint"),
        (cloud(json!({"secret": "a/b"})), "source.secret"),
        (json!({"template": "t", "config": {"task_timeout": -1}}), "config.task_timeout"),
        (
            json!({"template": "t", "params": {"partitioner": {"num_replicas": "x"}}}),
            "params.partitioner.num_replicas",
        ),
    ] {
        let (status, refused) = server.post("/v1/jobs", body.clone()).await;

        assert_eq!((status, problem(&refused)), (400, ("INVALID_ARGUMENT", field)), "{body}");
        assert!(refused["detail"].as_str().unwrap().starts_with(field), "{refused}");
    }
    let (status, refused) = server.post("/v1/jobs", json!({"template": "nothing"})).await;
    assert_eq!((status, problem(&refused).0), (404, "NOT_FOUND"));
}

#[tokio::test]
async fn secret_takes_its_own_scope_and_is_named_in_the_refusal() {
    let server = granted().await;
    let (_, made) =
        server.post("/v1/auth/api_key", json!({"name": "n", "scopes": ["jobs:write"]})).await;
    let key = made["token"].as_str().unwrap();
    let source = json!({"type": "url", "url": "https://example.com/a", "secret": "s"});
    let body = json!({"template": "t", "source": source});

    let (status, refused) = server.call_as(key, Method::POST, "/v1/jobs", Some(body.clone())).await;
    let job = make(&server, body).await;
    let (unknown, why) = server.post(&format!("/v1/jobs/{job}/runs"), json!({})).await;

    assert_eq!((status, problem(&refused).0), (403, "FORBIDDEN"), "{refused}");
    assert!(refused["detail"].as_str().unwrap().starts_with("source.secret: "), "{refused}");
    assert_eq!((unknown, problem(&why)), (400, ("INVALID_ARGUMENT", "source.secret")), "{why}");
}

#[tokio::test]
async fn failures_have_the_media_type_of_problems_at_every_path_below_v1() {
    let server = TestServer::open().await;
    for (path, status) in [("/v1/nowhere", 404), ("/v1/jobs/x", 404), ("/v1/jobs?limit=0", 400)] {
        let request = server.client.get(format!("{}{path}", server.url));
        let answer = request.header("authorization", &server.key).send().await.unwrap();

        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
    }
}

/// What stands for each segment of a path: a thing of the first workspace's.
async fn things(server: &TestServer) -> BTreeMap<&'static str, String> {
    let job = make(server, three_chunks()).await;
    let run = start(server, &job).await["id"].as_str().unwrap().to_owned();
    let tasks = read(server, &format!("/v1/runs/{run}/tasks")).await;
    let task = tasks["tasks"][0]["id"].as_str().unwrap_or(&run).to_owned();
    let (_, token) = server.post("/v1/nodes/tokens", json!({})).await;
    let token = token["token"].as_str().unwrap();
    let node = nodes::join(&server.app.db, "peer", token).await.unwrap().unwrap();
    let (_, top_up) = server.post("/v1/top_ups", json!({"credits": "10000"})).await;
    let (_, key) = server.post("/v1/keys", json!({"name": "n"})).await;
    let (member, _) = server.member(Role::User).await;
    let secret = json!({"id": "s", "type": "aws", "access_key": "AK", "value": "V"});
    assert_eq!(server.post("/v1/secrets", secret).await.0, 200);
    let (_, queue) = server.post("/v1/queues", json!({"name": "q"})).await;
    let (_, pool) = server.post("/v1/pools", json!({"name": "p", "own_nodes": true})).await;
    let definition = json!({"name": "d", "container": {"image": "localhost/app"}});
    let (_, definition) = server.post("/v1/definitions", definition).await;
    let cap = json!({"project": "p", "credits": "5"});
    assert_eq!(server.post("/v1/spend_caps", cap).await.0, 200);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    BTreeMap::from([
        ("queue", text(&queue["id"])),
        ("pool", text(&pool["id"])),
        ("definition", text(&definition["id"])),
        ("job", job),
        ("run", run),
        ("task", task),
        ("node", node.to_string()),
        ("request", text(&top_up["id"])),
        ("key", text(&key["key"]["id"])),
        ("member", member),
        ("type", "aws".to_owned()),
        ("secret", "s".to_owned()),
        ("tag", "a@0.1".to_owned()),
        ("test", "a@0.1".to_owned()),
        ("template", "t".to_owned()),
        ("reference", "image%3A1".to_owned()),
        ("name", "file".to_owned()),
        ("project", "p".to_owned()),
    ])
}

/// A body that routes which ask for one accept.
fn body_of(operation: &str) -> Option<Value> {
    match operation {
        "Fanfold_RenameJob" => Some(json!({"name": "x"})),
        "Fanfold_SetSchedule" => Some(json!({"cron": "@daily"})),
        "Fanfold_ChangeDefinition" => Some(json!({"active": true})),
        "Fanfold_SubmitJob" => Some(json!({"queue": uuid::Uuid::nil()})),
        "Fanfold_ChangeMember" => Some(json!({"role": "user"})),
        _ => None,
    }
}

#[tokio::test]
async fn stranger_finds_nothing_and_who_has_no_key_is_refused() {
    let server = granted().await;
    let things = things(&server).await;
    let stranger = server.stranger().await;

    for route in super::api().routes.iter().filter(|route| route.path.contains('{')) {
        let path = things.iter().fold(format!("/v1{}", route.path), |path, (name, id)| {
            path.replace(&format!("{{{name}}}"), id)
        });
        let body = body_of(&route.operation);
        let (status, answer) =
            server.call_as(&stranger, route.method.clone(), &path, body.clone()).await;
        let (no_key, refused) = server.call_as("", route.method.clone(), &path, body).await;

        // Only the server's owner may move requests, whosever they are.
        let expected = if route.operation.starts_with("Fanfold_Advance") {
            (403, "FORBIDDEN")
        } else {
            (404, "NOT_FOUND")
        };
        assert_eq!((status, problem(&answer).0), expected, "{path}: {answer}");
        assert_eq!((no_key, problem(&refused).0), (401, "UNAUTHENTICATED"), "{path}");
    }
    assert_eq!(server.call_as("", Method::GET, "/v1/jobs", None).await.0, 401);
    for (path, name) in [
        ("/v1/jobs", "jobs"),
        ("/v1/queues", "queues"),
        ("/v1/pools", "pools"),
        ("/v1/definitions", "definitions"),
        ("/v1/nodes", "nodes"),
        ("/v1/transactions", "transactions"),
        ("/v1/top_ups", "requests"),
        ("/v1/payouts", "requests"),
        ("/v1/apps", "packages"),
        ("/v1/engines", "packages"),
        ("/v1/templates", "templates"),
        ("/v1/images", "images"),
        ("/v1/cache", "files"),
        ("/v1/secrets", "secrets"),
        ("/v1/schedules", "schedules"),
    ] {
        let (_, listed) = server.call_as(&stranger, Method::GET, path, None).await;
        assert_eq!(listed, json!({name: [], "next_cursor": null}), "{path}");
    }
}

#[tokio::test]
async fn cursor_leads_through_all_jobs_and_others_are_refused() {
    let server = granted().await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.insert(0, make(&server, three_chunks()).await);
    }

    let (mut found, mut path) = (Vec::new(), "/v1/jobs?limit=2".to_owned());
    loop {
        let page = read(&server, &path).await;
        let ids = page["jobs"].as_array().unwrap().iter();
        found.extend(ids.map(|job| job["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/jobs?limit=2&cursor={cursor}");
    }

    assert_eq!(found, made);
    for (query, field) in
        [("cursor=x", "cursor"), ("limit=1001", "limit"), ("state=x", "state"), ("a=b", "a")]
    {
        let (status, refused) = server.get(&format!("/v1/jobs?{query}")).await;
        assert_eq!((status, problem(&refused).1), (400, field), "{refused}");
    }
}

#[tokio::test]
async fn create_that_is_repeated_under_its_key_makes_one_job() {
    let server = granted().await;

    let (status, first) = server.post_named("k", "/v1/jobs", &three_chunks()).await;
    let (again, second) = server.post_named("k", "/v1/jobs", &three_chunks()).await;

    assert_eq!((status, again, &first["id"]), (200, 200, &second["id"]));
    assert_eq!(read(&server, "/v1/jobs").await["jobs"].as_array().unwrap().len(), 1);
}
