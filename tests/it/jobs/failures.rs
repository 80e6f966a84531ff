//! What goes wrong is told clearly, costs nobody else anything, and is paid for by who caused it.

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::jobs::main_job::{counted, push_word_count, sample, word_count};
use harness::books;
use harness::client::{COMPLETE, Client, FAILED};
use harness::machine::busybox::docker;
use harness::market::{Market, Shape};
use harness::package::Package;
use harness::services::s3::S3;
use harness::wait::until;

/// Pushes an app of one chunk.
async fn push_app(client: &Client, name: &'static str, script: &str) -> Result<()> {
    client.push(&Package::app(name, script)).await?;
    client.template("replicate", name, "passthrough").await
}

/// An order of this many tasks without data.
fn order(app: &str, tasks: u32, config: &Value) -> Value {
    json!({
        "templateId": app, "name": app,
        "dataSource": {"dataSourceDescriptor": "bypass"},
        "dataDestination": {"dataSourceDescriptor": "bucket"},
        "params": {"partitioner": {"num_replicas": tasks}}, "config": config,
    })
}

/// A failed run took what its accepted tasks cost, and holds nothing.
async fn holds_nothing(client: &Client) -> Result<()> {
    let balance = client.balance().await?;
    assert_eq!(balance.total, balance.available);
    Ok(())
}

#[tokio::test]
async fn failing_task_ends_the_job_with_its_exit_code() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        push_app(&client, "broken", "echo 'no such model' >&2; exit 7").await?;
        let before = client.balance().await?;

        let id = client.start(order("broken", 1, &json!({})), None).await?;
        let message = client.failure(&id).await?;

        assert!(message.contains("chunk 0") && message.contains("exit code 7"), "{message}");
        let after = client.balance().await?;
        assert!(after.total < before.total, "what failed by its own fault costs what it used");
        let results = format!("/v1/customer/jobs/{id}/results");
        let refusal = client.refused(Method::GET, &results, json!({})).await?;
        assert!(refusal.message.contains("failed"), "{refusal:?}");
        until("its last words", async || {
            let logs = client
                .post("/v1/customer/logs", json!({"jobId": id, "levels": ["UNKNOWN"]}))
                .await?;
            let task = logs["taskrunner"].as_object().and_then(|tasks| tasks.values().next());
            Ok(task.filter(|task| task["logs"][0]["log"] == "no such model").map(|_| ()))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn task_is_retried_as_often_as_its_job_allows() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        push_app(&client, "broken", "exit 1").await?;
        let config = json!({"maxTaskRetries": 2});

        let id = client.start(order("broken", 1, &config), None).await?;
        let message = client.failure(&id).await?;

        assert!(message.contains("failed 3 times"), "{message}");
        let db = books::open(&market.database()).await?;
        let sql = "SELECT attempt AS n FROM tasks WHERE failures = 3";
        assert_eq!(books::count(&db, sql).await?, 3);
        holds_nothing(&client).await
    })
    .await
}

#[tokio::test]
async fn task_beyond_its_timeout_is_stopped() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        push_app(&client, "endless", "sleep 1000").await?;

        let id = client.start(order("endless", 1, &json!({"taskTimeout": 1})), None).await?;
        let message = client.failure(&id).await?;

        assert!(message.contains("task timeout"), "{message}");
        holds_nothing(&client).await
    })
    .await
}

#[tokio::test]
async fn job_beyond_its_timeout_is_stopped_with_its_tasks() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        push_app(&client, "endless", "sleep 1000").await?;

        let id = client.start(order("endless", 2, &json!({"jobTimeout": "2"})), None).await?;
        let message = client.failure(&id).await?;

        assert!(message.contains("job timeout"), "{message}");
        market.containers_end().await?;
        holds_nothing(&client).await
    })
    .await
}

#[tokio::test]
async fn aborted_job_ends_with_its_containers() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        push_app(&client, "endless", "sleep 1000").await?;
        let id = client.start(order("endless", 2, &json!({})), None).await?;
        until("a container", async || Ok((market.containers()? > 0).then_some(()))).await?;
        let held = client.balance().await?;
        assert!(held.available < held.total);

        let abort = format!("/v1/customer/jobs/{id}/abort");
        client.post(&abort, json!({})).await?;

        assert_eq!(client.failure(&id).await?, "aborted by user");
        market.containers_end().await?;
        holds_nothing(&client).await?;
        let refusal = client.refused(Method::POST, &abort, json!({})).await?;
        assert_eq!((refusal.status, refusal.code), (400, Some(9)), "{refusal:?}");

        // One that has not started is deleted.
        let draft = client.create(order("endless", 1, &json!({}))).await?;
        client.post(&format!("/v1/customer/jobs/{draft}/abort"), json!({})).await?;
        let read = format!("/v1/customer/jobs/{draft}");
        assert_eq!(client.refused(Method::GET, &read, json!({})).await?.status, 404);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn wallet_that_cannot_hold_the_run_shows_the_missing_amount() -> Result<()> {
    Market::open(Shape::nodes(0).set("PROMOTIONAL_CREDITS", "0.00000010"), async |_, client| {
        push_app(&client, "fine", "true").await?;
        let id = client.create(order("fine", 1, &json!({}))).await?;

        let run = format!("/v1/customer/jobs/{id}/run");
        let refusal = client.refused(Method::POST, &run, json!({})).await?;

        assert_eq!((refusal.status, refusal.code), (400, Some(9)));
        assert!(refusal.message.contains("0.00000010 credits available"), "{refusal:?}");
        assert_eq!(client.job(&id).await?["state"], "JOB_STATE_NEW");
        holds_nothing(&client).await
    })
    .await
}

#[tokio::test]
async fn run_of_an_incomplete_job_names_what_is_missing() -> Result<()> {
    Market::open(Shape::nodes(0), async |_, client| {
        push_word_count(&client).await?;
        let file = client.create(word_count(1000)).await?;
        let run = |id: &str| format!("/v1/customer/jobs/{id}/run");

        // A file that has not been uploaded, and one that is only said to be.
        let refusal = client.refused(Method::POST, &run(&file), json!({})).await?;
        assert!(refusal.message.contains("has not been uploaded"), "{refusal:?}");
        let done = format!("/v1/customer/jobs/{file}/uploadcompleted");
        let refusal = client.refused(Method::PATCH, &done, json!({})).await?;
        assert!(refusal.message.contains("nothing has been uploaded"), "{refusal:?}");

        // Params that the engine does not know: at once.
        let bypass = order("count", 1, &json!({}));
        let refusal = client.refused(Method::POST, "/v1/customer/jobs", bypass).await?;
        assert!(refusal.message.contains("num_replicas"), "{refusal:?}");

        // Results of a job that has not run.
        let results = format!("/v1/customer/jobs/{file}/results");
        let refusal = client.refused(Method::GET, &results, json!({})).await?;
        assert_eq!((refusal.status, refusal.code), (400, Some(9)));
        assert_eq!(refusal.message, "job has not yet been completed");

        // An app that was switched off, and one that nobody pushed.
        client.post("/v1/dev/apps/count/deactivate", json!({})).await?;
        client.upload(&file, "some words\n").await?;
        let refusal = client.refused(Method::POST, &run(&file), json!({})).await?;
        assert!(refusal.message.contains("\"count\" is not active"), "{refusal:?}");
        client.template("lines", "nobody", "concat").await?;
        let order = json!({"templateId": "nobody", "dataSource": {"dataSourceDescriptor": "bypass"},
            "dataDestination": {"dataSourceDescriptor": "bypass"}});
        let unknown = client.create(order).await?;
        let refusal = client.refused(Method::POST, &run(&unknown), json!({})).await?;
        assert!(refusal.message.contains("\"nobody\" is unknown"), "{refusal:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn package_that_cannot_be_used_is_refused_with_the_reason() -> Result<()> {
    Market::open(Shape::nodes(0), async |_, client| {
        let push = async |data: Value| {
            client.refused(Method::POST, "/v1/dev/apps", json!({"data": data})).await
        };
        let engine = Package::partitioner("cut", "true").archive()?;
        let other = Package::app("x", "true").with("platform", json!("wasm")).archive()?;
        let lost = Package::app("x", "true").with("entrypoint", json!("main.py")).archive()?;

        for (data, named) in [
            (json!("no base64 !"), "data: is not base64"),
            (json!("AAAA"), "data: "),
            (json!(engine), "manifest.json.type"),
            (json!(other), "manifest.json.platform"),
            (json!(lost), "main.py"),
            (json!(null), "data: is missing"),
        ] {
            let refusal = push(data).await?;
            assert_eq!((refusal.status, refusal.code), (400, Some(3)), "{refusal:?}");
            assert!(refusal.message.contains(named), "{refusal:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn workspace_is_hidden_from_others() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        push_word_count(&client).await?;
        let input = sample(20);
        let id = client.start(word_count(1 << 20), Some(input.as_bytes())).await?;
        client.reached(&id, COMPLETE).await?;
        let stranger = Client::with_key(&client.url, &second_workspace(market).await?).await?;

        let job = format!("/v1/customer/jobs/{id}");
        for (method, path) in [
            (Method::GET, job.clone()),
            (Method::GET, format!("{job}/results")),
            (Method::GET, format!("{job}/progress")),
            (Method::GET, format!("{job}/tasks")),
            (Method::POST, format!("{job}/run")),
            (Method::POST, format!("{job}/abort")),
            (Method::DELETE, job.clone()),
            (Method::PATCH, format!("{job}/uploadcompleted")),
            (Method::GET, "/v1/dev/apps/count".to_owned()),
            (Method::POST, "/v1/dev/apps/count/deactivate".to_owned()),
            (Method::GET, "/v1/dev/engines/sum/download".to_owned()),
            (Method::GET, "/v1/dev/templates/count".to_owned()),
        ] {
            let refusal = stranger.refused(method.clone(), &path, json!({})).await?;
            assert_eq!(
                (refusal.status, refusal.code),
                (404, Some(5)),
                "{method} {path}: {refusal:?}"
            );
        }
        let refusal =
            stranger.refused(Method::POST, "/v1/customer/logs", json!({"jobId": id})).await?;
        assert_eq!(refusal.status, 404);
        assert_eq!(stranger.get("/v1/customer/jobs").await?["data"], json!([]));
        assert_eq!(stranger.balance().await?.total.units(), 0);
        assert_eq!(client.results(&id).await?["total.txt"], counted(&input));
        Ok(())
    })
    .await
}

/// Makes another workspace behind the server's back; gives the key of its user.
async fn second_workspace(market: &Market) -> Result<String> {
    use server::store::open;
    use server::store::people::{api_keys, workspaces};

    let db = open(&format!("sqlite://{}", market.database().display())).await?;
    let workspace = workspaces::create_workspace(&db, "other").await?;
    let user = workspaces::create_user(&db, workspace, "stranger").await?;
    Ok(api_keys::issue(&db, workspace, user, "key").await?)
}

#[tokio::test]
async fn path_of_no_api_is_refused_with_a_problem() -> Result<()> {
    Market::open(Shape::nodes(0), async |_, client| {
        let refusal = client.refused(Method::GET, "/nowhere", json!({})).await?;

        assert_eq!((refusal.status, refusal.code), (404, None), "{refusal:?}");
        assert_eq!((&*refusal.reason, &*refusal.message), ("NOT_FOUND", "path not found"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn call_without_a_valid_token_is_refused() -> Result<()> {
    Market::open(Shape::nodes(0), async |_, client| {
        for token in ["", "Bearer", "nonsense", "Bearer eyJhbGciOiJub25lIn0.e30."] {
            let bad = client.with_token(token);
            let refusal = bad.refused(Method::GET, "/v1/customer/jobs", json!({})).await?;
            assert_eq!((refusal.status, refusal.code), (401, Some(16)), "{token:?}: {refusal:?}");
        }
        let bearer = client.with_token(&format!("Bearer {}", client.token));
        bearer.get("/v1/auth/user").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn small_job_does_not_wait_for_a_large_one() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        push_app(&client, "slow", "sleep 0.2").await?;
        let large = client.start(order("slow", 400, &json!({})), None).await?;
        until("the large one to be at work", async || {
            let done = client.progress(&large).await?["chunksDone"].as_u64();
            Ok((done.context("chunksDone")? > 0).then_some(()))
        })
        .await?;

        let small = client.start(order("slow", 4, &json!({})), None).await?;
        client.reached(&small, COMPLETE).await?;

        let progress = client.progress(&large).await?;
        ensure!(progress["state"] == "JOB_STATE_PARTITIONED", "{progress}");
        client.post(&format!("/v1/customer/jobs/{large}/abort"), json!({})).await?;
        client.reached(&large, FAILED).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn simultaneous_jobs_share_the_nodes() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        push_app(&client, "slow", "sleep 0.1").await?;
        let first = client.start(order("slow", 24, &json!({})), None).await?;
        let second = client.start(order("slow", 24, &json!({})), None).await?;

        client.reached(&first, COMPLETE).await?;
        let done = client.progress(&second).await?["chunksDone"].as_u64().context("chunksDone")?;
        client.reached(&second, COMPLETE).await?;

        // In turns: the second is nearly through as well when the first is.
        assert!(done >= 12, "the second job had only {done} of 24 chunks");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn bucket_that_refuses_a_read_fails_the_job_in_seconds_and_names_the_object() -> Result<()> {
    let s3 = S3::start().await?;
    std::fs::create_dir(s3.path("in"))?;
    for n in 0..12 {
        std::fs::write(s3.path(&format!("in/{n:02}.txt")), "words")?;
    }
    s3.archive();
    Market::open(Shape::nodes(1), async |_, client| {
        push_app(&client, "good", "echo fine > \"$TASK_RESULTS_DIR/x\"").await?;
        client.push(&Package::app("read", "cat \"$TASK_DIR/data.bin\"")).await?;
        client.template("file", "read", "passthrough").await?;
        let bad = json!({
            "templateId": "read", "name": "read", "dataSource": s3.place_with_keys("in/"),
            "dataDestination": {"dataSourceDescriptor": "bucket"},
        });

        let refused = client.start(bad, None).await?;
        let good = client.start(order("good", 1, &json!({})), None).await?;
        client.reached(&good, COMPLETE).await?;
        let message = client.failure(&refused).await?;

        for part in ["in/", ".txt", "403", "InvalidObjectState"] {
            assert!(message.contains(part), "{message}");
        }
        holds_nothing(&client).await
    })
    .await
}

/// The engine's short id of the container that a job's app has written to its log.
async fn written_id(client: &Client, job: &str) -> Result<String> {
    until("the container's id", async || {
        let body = json!({"jobId": job, "levels": ["UNKNOWN"]});
        let logs = client.post("/v1/customer/logs", body).await?;
        let task = logs["taskrunner"].as_object().and_then(|tasks| tasks.values().next());
        let line = task.and_then(|task| task["logs"][0]["log"].as_str());
        Ok(line.map(str::to_owned))
    })
    .await
}

#[tokio::test]
async fn container_killed_from_outside_runs_again_and_costs_no_attempt() -> Result<()> {
    Market::open(Shape::nodes(2), async |_, client| {
        let script = "cat /etc/hostname; sleep 8; echo done > \"$TASK_RESULTS_DIR/x\"";
        push_app(&client, "slow", script).await?;

        let id = client.start(order("slow", 1, &json!({})), None).await?;
        docker(&["kill", &written_id(&client, &id).await?])?;
        let job = client.reached(&id, COMPLETE).await?;

        assert_eq!(job["errorMessage"], "");
        let task = client.get(&format!("/v1/customer/jobs/{id}/tasks/0")).await?;
        let attempts = task["attempts"].as_array().context("attempts")?;
        assert_eq!(attempts.len(), 2);
        let told = attempts[0]["error"].as_str().unwrap_or_default();
        assert!(told.contains("SIGKILL") && attempts[0]["price"] == "0.00000000", "{task}");
        Ok(())
    })
    .await
}
