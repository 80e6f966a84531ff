//! Drafts: what can be said of them, changed and copied; quotes, logs and tests of sources.

use std::time::Duration;

use super::*;
use crate::data::testing::WebServer;

#[tokio::test]
async fn draft_says_how_urgent_it_is_and_when_and_where_it_may_run() {
    let server = granted().await;
    let said = json!({"priority": "fast", "regions": {"allow": ["eu"], "deny": ["eu-west-1"]},
                      "tags": ["nightly"], "start_at": "2027-01-01T00:00:00Z",
                      "description": "two\nlines"});
    let mut body = json!({"template": "t"});
    body.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());

    let (status, job) = server.post("/v1/jobs", body).await;

    assert_eq!(status, 200, "{job}");
    for (field, value) in said.as_object().unwrap() {
        assert_eq!(&job[field], value, "{field}");
    }
    let plain = json!({"template": "t"});
    let (_, plain) = server.post("/v1/jobs", plain).await;
    assert_eq!((&plain["priority"], &plain["start_at"]), (&json!("balanced"), &Value::Null));
    assert_eq!(plain["regions"], json!({"allow": [], "deny": []}));
}

#[tokio::test]
async fn job_of_packages_needs_no_template() {
    let server = granted().await;

    let body = json!({"packages": {"app": "a@0.1"}, "source": {"type": "bypass"}});
    let job = make(&server, body).await;

    let shown = read(&server, &format!("/v1/jobs/{job}")).await;
    let expected = json!({"id": "", "app": "a@0.1", "partitioner": "passthrough",
                          "assembler": "passthrough"});
    assert_eq!(shown["template"], expected);
    assert_eq!(start(&server, &job).await["job"], job);
}

#[tokio::test]
async fn draft_is_changed_in_part_and_a_started_job_only_renamed() {
    let server = granted().await;
    let job = make(&server, three_chunks()).await;
    let path = format!("/v1/jobs/{job}");

    let change = json!({"priority": "cheap", "config": {"job_timeout": 900},
                        "params": {"assembler": {"name": "out.zip"}}});
    let (status, changed) = server.patch(&path, change).await;

    assert_eq!((status, &changed["priority"]), (200, &json!("cheap")), "{changed}");
    assert_eq!(
        (&changed["config"]["task_timeout"], &changed["config"]["job_timeout"]),
        (&json!(60), &json!(900))
    );
    assert_eq!(changed["params"]["partitioner"], json!({"num_replicas": 3}));
    assert_eq!(changed["params"]["assembler"], json!({"name": "out.zip"}));
    let (status, refused) = server.patch(&path, json!({"template": "t"})).await;
    assert_eq!((status, problem(&refused).1), (400, "template"), "{refused}");
    start(&server, &job).await;
    let (status, refused) = server.patch(&path, json!({"name": "new"})).await;
    assert_eq!((status, problem(&refused).0), (400, "FAILED_PRECONDITION"), "{refused}");
    let (status, renamed) = server.post(&format!("{path}/rename"), json!({"name": "new"})).await;
    assert_eq!((status, &renamed["name"]), (200, &json!("new")));
    let (status, refused) = server.post(&format!("{path}/rename"), json!({})).await;
    assert_eq!((status, problem(&refused).1), (400, "name"), "{refused}");
}

#[tokio::test]
async fn copy_of_a_started_job_is_a_draft_like_it() {
    let server = granted().await;
    let job = make(&server, three_chunks()).await;
    start(&server, &job).await;
    let path = format!("/v1/jobs/{job}/copy");

    let (status, copy) = server.post_named("k", &path, &json!({"name": "copy"})).await;
    let (_, again) = server.post_named("k", &path, &json!({"name": "copy"})).await;

    assert_eq!((status, &copy["id"]), (200, &again["id"]), "{copy}");
    assert_eq!((&copy["state"], &copy["name"]), (&json!("new"), &json!("copy")));
    assert_eq!(copy["params"]["partitioner"], json!({"num_replicas": 3}));
}

#[tokio::test]
async fn quote_is_of_a_draft_or_of_its_run() {
    let server = granted().await;
    let job = make(&server, three_chunks()).await;
    let quote = format!("/v1/jobs/{job}/quote");

    let before = read(&server, &quote).await;
    start(&server, &job).await;
    let after = read(&server, &quote).await;

    assert_eq!((&before["chunks"], &before["basis"]), (&json!(3), &json!("assumption")));
    assert_eq!(after["chunks"], 3);
}

#[tokio::test]
async fn logs_of_a_run_are_asked_for_by_phase_task_and_level() {
    let server = granted().await;
    let job = make(&server, three_chunks()).await;
    let run = start(&server, &job).await["id"].as_str().unwrap().to_owned();
    let logs = format!("/v1/runs/{run}/logs");

    let none = read(&server, &format!("{logs}?phase=process&level=error&task=0")).await;

    assert_eq!(none, json!({"lines": [], "next_cursor": null}));
    for (query, field) in [
        ("phase=deliver", "phase"),
        ("level=loud", "level"),
        ("task=x", "task"),
        ("cursor=x", "cursor"),
    ] {
        let (status, refused) = server.get(&format!("{logs}?{query}")).await;
        assert_eq!((status, problem(&refused)), (400, ("INVALID_ARGUMENT", field)), "{refused}");
    }
}

#[tokio::test]
async fn source_is_tested_before_a_job_needs_it() {
    let server = granted().await;
    let remote = WebServer::with_ranges(b"0123456789".to_vec()).await;
    let test = async |source: Value| server.post("/v1/source_tests", source).await;
    let url = format!("{}/data/in.csv", remote.url);

    let (status, found) = test(json!({"source": {"type": "url", "url": url}})).await;

    assert_eq!((status, &found["name"], &found["size"]), (200, &json!("in.csv"), &json!(10)));
    assert_eq!((&found["files"], &found["has_more"]), (&json!([]), &json!(false)));
    let (status, refused) = test(json!({})).await;
    assert_eq!((status, problem(&refused).1), (400, "source"), "{refused}");
    let secret = json!({"source": {"type": "url", "url": url, "secret": "nope"}});
    assert_eq!(test(secret).await.0, 400);
    let closed = json!({"source": {"type": "url", "url": "http://127.0.0.1:1/x"}});
    let (status, refused) = test(closed).await;
    assert_eq!((status, problem(&refused).0), (400, "FAILED_PRECONDITION"));
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.starts_with("source: its server cannot be reached"), "{detail}");
}

#[tokio::test]
async fn run_that_has_not_failed_is_not_delivered_again() {
    let server = granted().await;
    let job = make(&server, three_chunks()).await;
    let run = start(&server, &job).await["id"].as_str().unwrap().to_owned();

    let (status, refused) = server.post(&format!("/v1/runs/{run}/deliver"), json!({})).await;

    assert_eq!((status, problem(&refused).0), (400, "FAILED_PRECONDITION"), "{refused}");
}

#[tokio::test]
async fn waiting_request_is_answered_when_the_run_has_ended() {
    let server = granted().await;
    let job = make(&server, three_chunks()).await;
    let run = start(&server, &job).await["id"].as_str().unwrap().to_owned();
    let (wait, cancel) = (format!("/v1/runs/{run}?wait=60"), format!("/v1/runs/{run}/cancel"));

    let (waited, cancelled) = tokio::join!(server.get(&wait), server.post(&cancel, json!({})));

    assert_eq!((waited.0, cancelled.0), (200, 200));
    assert_eq!(waited.1["state"], "cancelled");
    for wait in ["61", "-1", "x"] {
        let (status, refused) = server.get(&format!("/v1/runs/{run}?wait={wait}")).await;
        assert_eq!((status, problem(&refused).1), (400, "wait"), "{refused}");
    }
}

#[tokio::test]
async fn event_stream_tells_of_the_callers_runs_in_words_of_this_api() {
    let server = granted().await;
    let url = format!("{}/v1/events", server.url);
    let asked = server.client.get(&url).header("authorization", &server.key);
    let mut answer = asked.header("accept", "text/event-stream").send().await.unwrap();
    let job = make(&server, three_chunks()).await;
    let run = start(&server, &job).await["id"].as_str().unwrap().to_owned();

    assert_eq!(server.post(&format!("/v1/runs/{run}/cancel"), json!({})).await.0, 200);
    let mut heard = String::new();
    let reading = async {
        while !heard.contains(r#""state":"cancelled""#) {
            let piece = answer.chunk().await.unwrap().expect("the stream ended early");
            heard.push_str(str::from_utf8(&piece).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("nothing was heard");

    assert!(heard.contains("event: run.state") && heard.contains(&run), "{heard}");
    assert!(heard.contains(r#""kind":"cancelled""#), "{heard}");
    let (status, refused) = server.get("/v1/events?job=x").await;
    assert_eq!((status, problem(&refused).1), (400, "job"), "{refused}");
}
