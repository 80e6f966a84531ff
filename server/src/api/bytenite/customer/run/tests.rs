//! Starts and ends of jobs.

use common::money::credits::Credits;
use serde_json::{Value, json};

use crate::api::testing::TestServer;
use crate::store::testing::runs_of;

async fn granted() -> TestServer {
    let server = TestServer::open().await;
    let amount = Credits::from_units(100_000_000_000).unwrap();
    server.app.coordinator.grant(server.workspace, amount, "first").await.unwrap();
    server
}

fn bypass() -> Value {
    json!({"templateId": "t", "dataSource": {"dataSourceDescriptor": "bypass"},
           "dataDestination": {"dataSourceDescriptor": "bucket"}})
}

#[tokio::test]
async fn run_request_with_each_of_three_bodies_starts_a_job_once() {
    let server = granted().await;
    server.template("passthrough", "passthrough").await;
    for body in [
        None,
        Some(json!({"taskTimeout": 60})),
        Some(json!({"config": {"taskTimeout": "60", "jobTimeout": 600}})),
    ] {
        let id = server.job(bypass()).await;
        let run = format!("/v1/customer/jobs/{id}/run");

        let (status, answer) = server.call(reqwest::Method::POST, &run, body.clone()).await;
        let (again, refused) = server.call(reqwest::Method::POST, &run, body).await;

        assert_eq!((status, &answer["ok"]), (200, &json!(true)), "{answer}");
        assert_eq!((again, &refused["code"]), (400, &json!(9)), "{refused}");
    }
}

#[tokio::test]
async fn started_job_is_locked_has_no_results_yet_and_can_be_aborted() {
    let server = granted().await;
    server.template("passthrough", "passthrough").await;
    let id = server.job(bypass()).await;
    let job = format!("/v1/customer/jobs/{id}");
    assert_eq!(server.post(&format!("{job}/run"), json!({})).await.0, 200);

    for (part, body) in [
        ("params", json!({})),
        ("configs", json!({})),
        ("datasource", json!({"dataSource": {"dataSourceDescriptor": "bypass"}})),
    ] {
        let (status, body) = server.patch(&format!("{job}/{part}"), body).await;
        assert_eq!(status, 400);
        assert!(body["message"].as_str().unwrap().contains("started"), "{body}");
    }
    let (status, body) = server.get(&format!("{job}/results")).await;
    assert_eq!((status, &body["code"]), (400, &json!(9)));
    assert!(body["message"].as_str().unwrap().contains("job has not yet been completed"));
    assert_eq!(server.call(reqwest::Method::DELETE, &job, None).await.0, 400);
    assert_eq!(server.get(&format!("{job}/progress")).await.0, 200);

    let (status, aborted) = server.post(&format!("{job}/abort"), json!({})).await;
    assert_eq!(status, 200);
    assert!(aborted["message"].as_str().unwrap().ends_with("0.00000000 credits paid"));

    let (_, body) = server.get(&job).await;
    assert_eq!(body["job"]["state"], "JOB_STATE_FAILED");
    assert_eq!(body["job"]["status"], "cancelled");
    assert_eq!(body["job"]["errorMessage"], "aborted by user");
    assert_eq!(server.post(&format!("{job}/abort"), json!({})).await.0, 400);
    let (_, balance) = server.get("/v1/wallet/balance").await;
    assert_eq!(balance["totalBalance"], balance["availableBalance"]);
    assert_eq!(server.call(reqwest::Method::DELETE, &job, None).await.0, 200);
}

#[tokio::test]
async fn run_without_enough_credits_is_refused_and_the_job_stays_a_draft() {
    let server = TestServer::open().await;
    server.template("passthrough", "passthrough").await;
    let id = server.job(bypass()).await;
    let run = format!("/v1/customer/jobs/{id}/run");

    let (status, body) = server.post(&run, json!({})).await;
    assert_eq!((status, &body["code"]), (400, &json!(9)));
    assert!(body["message"].as_str().unwrap().contains("wallet"), "{body}");

    let (status, body) = server.patch(&format!("/v1/customer/jobs/{id}/jobname"), json!("x")).await;
    assert_eq!((status, &body["job"]["state"]), (200, &json!("JOB_STATE_NEW")));
    let amount = Credits::from_units(100_000_000_000).unwrap();
    server.app.coordinator.grant(server.workspace, amount, "late").await.unwrap();
    assert_eq!(server.post(&run, json!({})).await.0, 200);
}

#[tokio::test]
async fn run_of_an_incomplete_job_names_what_is_missing() {
    let server = granted().await;
    server.template("lines", "own-engine").await;
    let refused = async |body: Value| {
        let id = server.job(body).await;
        let (status, body) = server.post(&format!("/v1/customer/jobs/{id}/run"), json!({})).await;
        assert_eq!(status, 400);
        body["message"].as_str().unwrap().to_owned()
    };
    let with = |source: Value| {
        let mut body = bypass();
        body["dataSource"] = source;
        body
    };

    assert!(refused(json!({"templateId": "t"})).await.starts_with("dataSource: is missing"));
    let file = with(json!({"dataSourceDescriptor": "file"}));
    assert!(refused(file).await.contains("has not been uploaded"));
    let secret = with(json!({"dataSourceDescriptor": "aws", "params": {"name": "n",
        "bucketName": "b", "secret_id": "nope"}}));
    assert!(refused(secret).await.starts_with("dataSource.params.secret_id"));
    assert!(refused(bypass()).await.contains("\"own-engine\" is unknown"));
    let mut params = bypass();
    params["params"] = json!({"partitioner": {"chunk_size": 1}});
    let (status, body) = server.post("/v1/customer/jobs", params).await;
    assert_eq!(status, 400, "{body}");
    assert!(body["message"].as_str().unwrap().starts_with("params.partitioner.chunk_size"));
}

#[tokio::test]
async fn run_answer_names_ignored_fields_and_marks_a_test() {
    let server = granted().await;
    server.template("passthrough", "zipper").await;
    let mut body = bypass();
    body["params"] = json!({"partitioner": {"numImages": 20}, "assembler": {"level": 9}});
    body["config"] = json!({"isTestJob": true});
    let id = server.job(body).await;
    let run = format!("/v1/customer/jobs/{id}/run");

    for path in [format!("{run}?dryRun=true"), run] {
        let (status, answer) = server.post(&path, json!({})).await;

        assert_eq!(status, 200, "{answer}");
        let message = answer["message"].as_str().unwrap();
        for part in ["test job", "params.partitioner.numImages", "params.assembler.level"] {
            assert!(message.contains(part), "{message}");
        }
    }
    let plain = server.job(bypass()).await;
    let (_, answer) = server.post(&format!("/v1/customer/jobs/{plain}/run"), json!({})).await;
    assert_eq!(answer["message"], "");
}

#[tokio::test]
async fn job_without_a_destination_stores_its_results_in_the_temporary_bucket() {
    let server = granted().await;
    server.template("passthrough", "passthrough").await;
    let source = json!({"dataSourceDescriptor": "bypass"});
    let id = server.job(json!({"templateId": "t", "dataSource": source})).await;

    let run = format!("/v1/customer/jobs/{id}/run");
    assert_eq!(server.post(&run, json!({})).await.0, 200);

    let (_, body) = server.get(&format!("/v1/customer/jobs/{id}")).await;
    let place = &body["job"]["dataDestination"];
    assert_eq!(place["dataSourceDescriptor"], "bucket", "{body}");
}

#[tokio::test]
async fn simultaneous_starts_make_one_run() {
    let server = granted().await;
    server.template("passthrough", "passthrough").await;
    let id = server.job(bypass()).await;
    let run = format!("/v1/customer/jobs/{id}/run");

    let starts = (0..8).map(|_| server.post(&run, json!({})));
    let answers = futures::future::join_all(starts).await;

    let started = answers.iter().filter(|(status, _)| *status == 200).count();
    assert_eq!(started, 1, "{answers:?}");
    let job = id.parse().unwrap();
    assert_eq!(runs_of(&server.app.db, server.workspace, job).await.len(), 1);
}

#[tokio::test]
async fn start_beside_a_change_runs_what_the_job_shows() {
    let server = granted().await;
    server.template("passthrough", "passthrough").await;
    for _ in 0..8 {
        let id = server.job(bypass()).await;
        let job = format!("/v1/customer/jobs/{id}");
        let (run, configs) = (format!("{job}/run"), format!("{job}/configs"));

        let start = server.post(&run, json!({}));
        let change = server.patch(&configs, json!({"taskTimeout": 77}));
        let ((started, answer), (changed, _)) = futures::join!(start, change);

        let (_, body) = server.get(&job).await;
        assert_eq!(body["job"]["config"]["taskTimeout"] == json!(77), changed == 200, "{body}");
        let is_draft = body["job"]["state"] == "JOB_STATE_NEW";
        assert_eq!(is_draft, started != 200, "{answer}");
        let secs = |view: crate::store::market::runs::RunView| view.task_timeout_secs == 77;
        let job = id.parse().unwrap();
        let mut runs = runs_of(&server.app.db, server.workspace, job).await;
        assert_eq!(runs.pop().map(secs), (started == 200).then_some(changed == 200));
        if is_draft {
            assert_eq!((started, &answer["code"]), (400, &json!(9)), "{answer}");
            assert_eq!(server.post(&run, json!({})).await.0, 200);
        }
    }
}

#[tokio::test]
async fn start_beside_a_deletion_does_one_of_the_two() {
    let server = granted().await;
    server.template("passthrough", "passthrough").await;
    for _ in 0..8 {
        let id = server.job(bypass()).await;
        let job = format!("/v1/customer/jobs/{id}");
        let run = format!("{job}/run");

        let start = server.post(&run, json!({}));
        let delete = server.call(reqwest::Method::DELETE, &job, None);
        let ((started, _), (deleted, _)) = futures::join!(start, delete);

        assert_ne!(started == 200, deleted == 200, "{started} {deleted}");
        let shown = if deleted == 200 { 404 } else { 200 };
        assert_eq!(server.get(&job).await.0, shown);
        let job = id.parse().unwrap();
        let runs = runs_of(&server.app.db, server.workspace, job).await;
        assert_eq!(runs.len(), usize::from(started == 200));
    }
}
