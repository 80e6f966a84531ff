//! One workspace against another: what a customer does must not hold up the others.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use harness::client::{COMPLETE, Client, text};
use harness::market::{Market, Shape};
use harness::package::Package;
use harness::services::web;
use harness::wait::{until, until_for};
use serde_json::{Value, json};

/// More than the server has places of any kind.
const SLOW_JOBS: usize = 20;

/// An app that hands its chunk on as it is.
async fn push_copy(client: &Client) -> Result<()> {
    let copy = r#"cat "$TASK_DIR/data.bin" > "$TASK_RESULTS_DIR/part.txt""#;
    client.push(&Package::app("copy", copy)).await?;
    client.template("passthrough", "copy", "passthrough").await
}

fn order(source: &Value) -> Value {
    json!({"templateId": "copy", "name": "copy", "dataSource": source,
           "dataDestination": {"dataSourceDescriptor": "bucket"}})
}

/// How long a job takes that reads nothing.
async fn time_of_a_job(client: &Client) -> Result<Duration> {
    let begun = Instant::now();
    let id = client.start(order(&json!({"dataSourceDescriptor": "bypass"})), None).await?;
    client.reached(&id, COMPLETE).await?;
    Ok(begun.elapsed())
}

async fn explained(client: &Client, id: &str) -> Result<String> {
    let path = format!("/v1/customer/jobs/{id}/explain");
    text(&client.get(&path).await?["reasons"][0])
}

#[tokio::test]
async fn slow_sources_of_one_tenant_do_not_delay_anothers_job() -> Result<()> {
    let slow = web::trickle(Duration::from_secs(1)).await?;
    Market::open(Shape::nodes(2), async |market, client| {
        push_copy(&client).await?;
        let hostile = market.tenant("hostile").await?;
        push_copy(&hostile).await?;
        time_of_a_job(&client).await?;
        let calm = time_of_a_job(&client).await?;

        let source = json!({"dataSourceDescriptor": "url", "params": {"url": slow}});
        let mut slow_jobs = Vec::new();
        for _ in 0..SLOW_JOBS {
            slow_jobs.push(hostile.start(order(&source), None).await?);
        }
        let last = slow_jobs.last().context("there are some")?;
        until("the last one to wait for a place", async || {
            let why = explained(&hostile, last).await?;
            Ok(why.contains("your other runs use 2 of 2").then_some(()))
        })
        .await?;
        until("a copy to be called slow", async || {
            let why = explained(&hostile, &slow_jobs[0]).await?;
            Ok(why.contains("127.0.0.1 sends").then_some(()))
        })
        .await?;

        let busy = time_of_a_job(&client).await?;
        assert!(busy < calm.mul_f64(1.5) + Duration::from_secs(2), "{calm:?}, then {busy:?}");

        // Who is too slow is given up, and the message says who.
        let message = until_for(Duration::from_secs(120), "the first to fail", async || {
            let job = hostile.job(&slow_jobs[0]).await?;
            Ok(job["errorMessage"].as_str().filter(|text| !text.is_empty()).map(str::to_owned))
        })
        .await?;
        assert!(message.contains("127.0.0.1 sends"), "{message}");
        for id in &slow_jobs[2..] {
            hostile.post(&format!("/v1/customer/jobs/{id}/abort"), json!({})).await?;
        }
        Ok(())
    })
    .await
}

/// Tasks whose containers write as much as is kept of each.
const LOUD_TASKS: usize = 24;
/// How much the server's memory may grow for answers that are asked for all at once.
const ANSWERS_KIB_MAX: u64 = 64 << 10;

#[tokio::test]
async fn logs_of_a_job_are_answered_in_pages_whatever_their_size() -> Result<()> {
    Market::open(Shape::nodes(2), async |market, client| {
        let loud = r#"line=$(head -c 1000 /dev/zero | tr '\0' x)
            yes "$line" | head -c 250000
            echo x > "$TASK_RESULTS_DIR/part.txt""#;
        client.push(&Package::app("loud", loud)).await?;
        client.template("replicate", "loud", "passthrough").await?;
        let mut job = order(&json!({"dataSourceDescriptor": "bypass"}));
        job["templateId"] = json!("loud");
        job["params"] = json!({"partitioner": {"num_replicas": LOUD_TASKS}});
        let id = client.start(job, None).await?;
        client.reached(&id, COMPLETE).await?;
        let (mut bytes, mut cursor) = (0, Value::Null);
        loop {
            let body = json!({"jobId": id, "cursor": cursor});
            let page = client.post("/v1/customer/logs", body).await?;
            let text = page.to_string();
            assert!(text.len() < 2 << 20, "a page of {} bytes", text.len());
            bytes += text.len();
            cursor = page["nextCursor"].clone();
            if cursor.is_null() {
                break;
            }
        }
        assert!(bytes > LOUD_TASKS * 200_000, "only {bytes} bytes of logs");

        let before = market.server()?.memory_kib("VmHWM")?;
        let ask = || client.post("/v1/customer/logs", json!({"jobId": id}));
        let answers = futures::future::join_all((0..64).map(|_| ask())).await;
        assert!(answers.iter().all(Result::is_ok));
        let after = market.server()?.memory_kib("VmHWM")?;
        assert!(after < before + ANSWERS_KIB_MAX, "{before} KiB grew to {after} KiB");
        Ok(())
    })
    .await
}

/// Announced and never sent: more than half of the test's quota.
const ANNOUNCED_BYTES: u64 = 700 << 20;

#[tokio::test]
async fn drafts_and_sparse_results_of_one_tenant_do_not_fill_the_disk() -> Result<()> {
    let shape = Shape::nodes(1).set("STORAGE__QUOTA_GIB", "1");
    Market::open(shape, async |_, client| {
        push_copy(&client).await?;
        let source = json!({"dataSourceDescriptor": "file"});
        let mut links = Vec::new();
        for _ in 0..2 {
            let id = client.create(order(&source)).await?;
            links.push(text(&client.job(&id).await?["dataSource"]["params"]["tempUrl"])?);
        }
        let http = reqwest::Client::new();
        let announce = |link: &str| {
            let never = futures::stream::pending::<std::io::Result<&'static [u8]>>();
            let put = http.put(link).header("content-length", ANNOUNCED_BYTES);
            put.body(reqwest::Body::wrap_stream(never)).send()
        };

        // The first holds its place while it says nothing.
        let first = tokio::spawn(announce(&links[0]));
        until("the first upload to be counted", async || {
            let stored = client.get("/v1/wallet/usage").await?["storage"]["bytes"].as_u64();
            Ok((stored.context("bytes")? >= ANNOUNCED_BYTES).then_some(()))
        })
        .await?;
        let refused = announce(&links[1]).await?;
        assert_eq!(refused.status(), 413);
        assert!(refused.text().await?.contains("STORAGE_FULL"));
        first.abort();
        until("the first to be counted no more", async || {
            let stored = client.get("/v1/wallet/usage").await?["storage"]["bytes"].as_u64();
            Ok((stored.context("bytes")? < ANNOUNCED_BYTES).then_some(()))
        })
        .await?;

        let sparse = r#"truncate -s 2147483648 "$TASK_RESULTS_DIR/nothing""#;
        client.push(&Package::app("sparse", sparse)).await?;
        client.template("passthrough", "sparse", "passthrough").await?;
        let mut job = order(&json!({"dataSourceDescriptor": "bypass"}));
        job["templateId"] = json!("sparse");
        let id = client.start(job, None).await?;
        let message = client.failure(&id).await?;
        assert!(message.contains("storage is full"), "{message}");
        Ok(())
    })
    .await
}
