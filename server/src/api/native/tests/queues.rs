use super::*;

async fn patch(server: &TestServer, path: &str, body: Value) -> (u16, Value) {
    server.call(Method::PATCH, path, Some(body)).await
}

async fn queue(server: &TestServer, body: Value) -> Value {
    let (status, made) = server.post("/v1/queues", body).await;
    assert_eq!(status, 200, "{made}");
    made
}

/// Makes a job of a container in a queue and starts it: gives its run.
async fn run_in(server: &TestServer, queue: &Value) -> String {
    let body = json!({"container": {"image": "localhost/app"}, "queue": queue["id"]});
    let job = make(server, body).await;
    start(server, &job).await["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn queue_is_made_changed_listed_and_removed() {
    let server = granted().await;
    let (_, pool) = server.post("/v1/pools", json!({"name": "eu", "own_nodes": true})).await;
    let body = json!({"name": "night", "project": "p", "rank": 7, "max_running": 3,
                      "timeout_secs": 60, "pools": [pool["id"]]});

    let made = queue(&server, body).await;
    let path = format!("/v1/queues/{}", made["id"].as_str().unwrap());
    let expected = json!({
        "id": made["id"], "project": "p", "name": "night", "description": "", "rank": 7,
        "max_running": 3, "enabled": true, "paused": false, "timeout_secs": 60,
        "pools": [pool["id"]], "created_at": made["created_at"], "updated_at": made["updated_at"],
    });
    assert_eq!([&made, &read(&server, &path).await], [&expected, &expected]);
    let (status, taken) = server.post("/v1/queues", json!({"name": "night", "project": "p"})).await;
    assert_eq!((status, problem(&taken).0), (409, "QUEUE_NAME_TAKEN"));

    let (_, changed) =
        patch(&server, &path, json!({"rank": 9, "paused": true, "timeout_secs": 0})).await;
    assert_eq!(changed["rank"], json!(9));
    assert_eq!((&changed["paused"], &changed["timeout_secs"]), (&json!(true), &Value::Null));
    assert_eq!(changed["max_running"], json!(3));
    let listed = read(&server, "/v1/queues?limit=1").await;
    assert_eq!(listed, json!({"queues": [changed], "next_cursor": made["id"]}));

    let pool = format!("/v1/pools/{}", pool["id"].as_str().unwrap());
    assert_eq!(server.call(Method::DELETE, &pool, None).await.0, 400);
    let (status, gone) = server.call(Method::DELETE, &path, None).await;
    assert_eq!((status, gone), (200, json!({"id": made["id"]})));
    assert_eq!(server.get(&path).await.0, 404);
}

#[tokio::test]
async fn queue_shows_what_waits_in_it_and_is_not_removed_before_it_has_ended() {
    let server = granted().await;
    let made = queue(&server, json!({"name": "night"})).await;
    let path = format!("/v1/queues/{}", made["id"].as_str().unwrap());
    let runs = [run_in(&server, &made).await, run_in(&server, &made).await];

    let snapshot = read(&server, &format!("{path}/snapshot")).await;
    assert_eq!(
        snapshot,
        json!({"queue": made["id"], "runs": 2, "tasks_running": 0,
               "tasks_waiting": 2, "stopped_by": null, "waiting": runs})
    );
    let position = read(&server, &format!("/v1/runs/{}/position", runs[1])).await;
    assert_eq!(position, json!({"run": runs[1], "position": 1}));

    patch(&server, &path, json!({"paused": true})).await;
    let stopped = read(&server, &format!("{path}/snapshot")).await;
    assert_eq!(stopped["stopped_by"], json!("paused"));
    let why = read(&server, &format!("/v1/runs/{}/explain", runs[0])).await;
    assert_eq!(why["reasons"], json!(["its queue is paused"]));

    let (status, refused) = server.call(Method::DELETE, &path, None).await;
    assert_eq!(status, 400, "{refused}");
    for run in &runs {
        server.post(&format!("/v1/runs/{run}/cancel"), json!({})).await;
    }
    let (status, gone) = server.call(Method::DELETE, &path, None).await;
    assert_eq!((status, gone), (200, json!({"id": made["id"]})));
}

#[tokio::test]
async fn queue_that_is_disabled_takes_no_run() {
    let server = granted().await;
    let made = queue(&server, json!({"name": "night", "enabled": false})).await;
    let body = json!({"container": {"image": "localhost/app"}, "queue": made["id"]});
    let job = make(&server, body).await;

    let (status, refused) = server.post(&format!("/v1/jobs/{job}/runs"), json!({})).await;

    assert_eq!(status, 400, "{refused}");
}

#[tokio::test]
async fn definition_has_versions_and_makes_jobs_with_parameters() {
    let server = granted().await;
    let made = queue(&server, json!({"name": "night"})).await;
    let body = json!({"name": "hello", "parameters": {"a": "1"},
                      "container": {"image": "localhost/app", "command": ["echo", "Param::a", "Param::b"]}});
    let (_, first) = server.post("/v1/definitions", body.clone()).await;
    let (_, second) = server.post("/v1/definitions", body).await;
    assert_eq!((&first["version"], &second["version"]), (&json!(1), &json!(2)));
    let path = format!("/v1/definitions/{}", second["id"].as_str().unwrap());
    let submit = async |parameters: Value| {
        let body = json!({"queue": made["id"], "name": "one", "parameters": parameters});
        server.post(&format!("{path}/jobs"), body).await
    };

    let (status, refused) = submit(json!({})).await;
    assert_eq!((status, problem(&refused).1), (400, "parameters"));
    let (status, job) = submit(json!({"b": "x y"})).await;
    assert_eq!(status, 200, "{job}");
    assert_eq!(job["container"]["main"]["command"], json!(["echo", "1", "x y"]));
    assert_eq!((&job["queue"], &job["name"]), (&made["id"], &json!("one")));
    let (status, taken) = submit(json!({"b": "x y"})).await;
    assert_eq!((status, problem(&taken).0), (409, "JOB_NAME_TAKEN"));

    let (_, off) = patch(&server, &path, json!({"active": false})).await;
    assert_eq!(off["active"], json!(false));
    assert_eq!(submit(json!({"b": "x"})).await.0, 400);
    assert_eq!(server.call(Method::DELETE, &path, None).await.0, 200);
    assert_eq!(server.get(&path).await.0, 404);
}
