//! The API through its socket, with a node that the test plays.

use common::money::credits::Credits;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::testing::TestServer;
use crate::coordinator::testing::Worker;

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

#[tokio::test]
async fn stranger_finds_nothing_and_who_has_no_key_is_refused() {
    let server = granted().await;
    let job = make(&server, three_chunks()).await;
    let run = start(&server, &job).await["id"].as_str().unwrap().to_owned();
    let tasks = read(&server, &format!("/v1/runs/{run}/tasks")).await;
    let stranger = server.stranger().await;

    for route in super::api().routes.iter().filter(|route| route.path.contains('{')) {
        let path = route.path.replace("{job}", &job).replace("{run}", &run);
        let path = path.replace("{task}", tasks["tasks"][0]["id"].as_str().unwrap_or(&run));
        let path = format!("/v1{path}");
        let (status, body) = server.call_as(&stranger, route.method.clone(), &path, None).await;
        let (no_key, refused) = server.call_as("", route.method.clone(), &path, None).await;

        assert_eq!((status, problem(&body).0), (404, "NOT_FOUND"), "{path}");
        assert_eq!((no_key, problem(&refused).0), (401, "UNAUTHENTICATED"), "{path}");
    }
    assert_eq!(server.call_as("", Method::GET, "/v1/jobs", None).await.0, 401);
    let (_, listed) = server.call_as(&stranger, Method::GET, "/v1/jobs", None).await;
    assert_eq!(listed, json!({"jobs": [], "next_cursor": null}));
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

#[tokio::test]
async fn dry_run_gives_a_quote_and_starts_nothing() {
    let server = granted().await;
    let job = make(&server, three_chunks()).await;
    let runs = format!("/v1/jobs/{job}/runs");

    let body = json!({"dry_run": true, "config": {"is_test_job": true}});
    let (status, answer) = server.post(&runs, body).await;

    assert_eq!((status, &answer["run"]), (200, &Value::Null), "{answer}");
    assert_eq!(
        (&answer["quote"]["chunks"], &answer["quote"]["affordable"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(answer["quote"]["basis"], "assumption");
    let total: Credits = answer["quote"]["total"].as_str().unwrap().parse().unwrap();
    assert!(!total.is_zero());
    assert!(answer["remarks"][0].as_str().unwrap().contains("test job"), "{answer}");
    assert_eq!(read(&server, &runs).await["runs"], json!([]));
}

#[tokio::test]
async fn start_names_what_is_missing_and_is_refused_twice() {
    let server = granted().await;
    let bare = make(&server, json!({"template": "t"})).await;
    let file = make(&server, json!({"template": "t", "source": {"type": "file"}})).await;
    let ready = make(&server, three_chunks()).await;
    let start_of = |job: &str| format!("/v1/jobs/{job}/runs");

    let (status, refused) = server.post(&start_of(&bare), json!({})).await;
    assert_eq!((status, problem(&refused)), (400, ("INVALID_ARGUMENT", "source")), "{refused}");
    let (status, refused) = server.post(&start_of(&file), json!({})).await;
    assert_eq!((status, problem(&refused).0), (400, "FAILED_PRECONDITION"), "{refused}");
    assert!(refused["detail"].as_str().unwrap().starts_with("source: the file"), "{refused}");
    let (status, refused) = server.post(&format!("/v1/jobs/{file}/upload"), json!({})).await;
    assert_eq!((status, problem(&refused).0), (400, "FAILED_PRECONDITION"), "{refused}");
    let wrong = json!({"config": {"max_task_retries": 101}});
    let (status, refused) = server.post(&start_of(&ready), wrong).await;
    assert_eq!((status, problem(&refused).1), (400, "config.max_task_retries"), "{refused}");
    start(&server, &ready).await;
    let (status, refused) = server.post(&start_of(&ready), json!({})).await;
    assert_eq!((status, problem(&refused).0), (400, "JOB_ALREADY_STARTED"), "{refused}");
}

#[tokio::test]
async fn run_goes_through_its_states_with_stages_tasks_and_results() {
    let server = granted().await;
    let job = make(&server, three_chunks()).await;
    let started = start(&server, &job).await;
    let run = format!("/v1/runs/{}", started["id"].as_str().unwrap());
    assert!(["accepted", "running"].contains(&started["state"].as_str().unwrap()), "{started}");
    assert_eq!((&started["job"], &started["ended_at"]), (&json!(job), &Value::Null));
    assert_ne!(started["held"], "0.00000000");
    let (status, refused) = server.get(&format!("{run}/results")).await;
    assert_eq!((status, problem(&refused).0), (400, "JOB_NOT_COMPLETED"));

    let mut worker = Worker::join(&server.app.db, server.workspace).await;
    let mut seen = Vec::new();
    let ended = loop {
        worker.turn(&server.app.coordinator).await;
        let now = read(&server, &run).await;
        let state = now["state"].as_str().unwrap().to_owned();
        if seen.last() != Some(&state) {
            seen.push(state);
        }
        if !now["ended_at"].is_null() {
            break now;
        }
    };

    let order = ["accepted", "running", "succeeded"];
    let place = |state: &String| order.iter().position(|known| known == state).unwrap();
    assert!(seen.iter().map(place).is_sorted() && ended["state"] == "succeeded", "{seen:?}");
    assert_eq!(
        (&ended["counts"]["chunks"], &ended["counts"]["chunks_done"]),
        (&json!(3), &json!(3))
    );
    assert_eq!((&ended["held"], &ended["error"]), (&json!("0.00000000"), &Value::Null));
    assert!(ended["states"]["succeeded"].is_string() && ended["phases"]["process"].is_string());
    assert_eq!(read(&server, &format!("/v1/jobs/{job}/runs")).await["runs"], json!([ended]));
    assert_eq!(read(&server, "/v1/jobs?state=succeeded").await["jobs"][0]["run"], ended["id"]);

    let stages = read(&server, &format!("{run}/stages")).await;
    let stages = stages["stages"].as_array().unwrap();
    assert!(stages.iter().all(|stage| stage["state"] == "done"), "{stages:?}");
    let process = stages.iter().find(|stage| stage["phase"] == "process").unwrap();
    assert_eq!(process["tasks"], json!({"total": 3, "begun": 3, "done": 3}));
    assert_eq!(process["kind"], "list");
    let first = read(&server, &format!("{run}/stages?limit=1")).await;
    let next = first["next_cursor"].as_str().unwrap();
    let second = read(&server, &format!("{run}/stages?limit=1&cursor={next}")).await;
    assert_eq!([&first["stages"][0], &second["stages"][0]], [&stages[0], &stages[1]]);

    let page = read(&server, &format!("{run}/tasks?limit=2")).await;
    let next = page["next_cursor"].as_str().unwrap();
    let rest = read(&server, &format!("{run}/tasks?limit=2&cursor={next}")).await;
    assert_eq!((page["tasks"].as_array().unwrap().len(), &rest["next_cursor"]), (2, &Value::Null));
    let task = &rest["tasks"][0];
    assert_eq!((&task["index"], &task["state"]), (&json!(2), &json!("done")));
    let whole = read(&server, &format!("{run}/tasks/{}", task["id"].as_str().unwrap())).await;
    assert_eq!((&whole["task"], &whole["attempts"]), (task, &json!([task["last_attempt"]])));
    assert_eq!((&whole["attempts"][0]["number"], &task["stage"]), (&json!(1), &process["number"]));

    let results = read(&server, &format!("{run}/results")).await;
    assert_eq!(results["is_partial"], false);
    let explained = read(&server, &format!("{run}/explain")).await;
    assert_eq!((&explained["state"], &explained["waiting"]), (&json!("succeeded"), &json!(false)));
    let (status, refused) = server.post(&format!("{run}/cancel"), json!({})).await;
    assert_eq!((status, problem(&refused).0), (400, "FAILED_PRECONDITION"));
}

#[tokio::test]
async fn run_that_is_cancelled_says_so_and_cuts_off_its_stages() {
    let server = granted().await;
    let job = make(&server, three_chunks()).await;
    let run = format!("/v1/runs/{}", start(&server, &job).await["id"].as_str().unwrap());

    let (status, cancelled) = server.post(&format!("{run}/cancel"), json!({})).await;

    assert_eq!((status, &cancelled["state"]), (200, &json!("cancelled")), "{cancelled}");
    assert_eq!(
        (&cancelled["error"], &cancelled["waits"]),
        (&json!("aborted by user"), &Value::Null)
    );
    assert_eq!(
        (&cancelled["held"], &cancelled["price"]),
        (&json!("0.00000000"), &json!("0.00000000"))
    );
    let stages = read(&server, &format!("{run}/stages")).await;
    assert_eq!(stages["stages"][0]["state"], "cut_off", "{stages}");
    let (status, refused) = server.get(&format!("{run}/results")).await;
    assert_eq!((status, problem(&refused).0), (400, "JOB_FAILED"), "{refused}");
    let partial = read(&server, &format!("{run}/results?partial=true")).await;
    assert_eq!((&partial["is_partial"], &partial["files"]), (&json!(true), &json!([])));
    let (status, refused) = server.get(&format!("{run}/results?partial=true&cursor=x")).await;
    assert_eq!((status, problem(&refused).1), (400, "cursor"), "{refused}");
    assert_eq!(server.call(Method::DELETE, &format!("/v1/jobs/{job}"), None).await.0, 200);
    assert_eq!(server.get(&run).await.0, 404);
}
