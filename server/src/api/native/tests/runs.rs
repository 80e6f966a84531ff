//! Runs: started, followed to their end, and cancelled.

use super::*;
use crate::coordinator::testing::Worker;

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
    assert_eq!((status, problem(&refused).0), (409, "JOB_ALREADY_STARTED"), "{refused}");
    assert_eq!(refused["status"], 409);
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
    assert_eq!((&ended["held"], &ended["cause"]), (&json!("0.00000000"), &Value::Null));
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
        (&cancelled["cause"], &cancelled["waits"]),
        (&json!({"kind": "cancelled", "message": "aborted by user"}), &Value::Null)
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
