//! kill -9 of the server and of nodes, in every phase: the run goes on by itself, its result is
//! the same, and (the market checks that at the end of each test) the money adds up.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::jobs::main_job::{counted, push_word_count, sample, word_count};
use harness::client::{COMPLETE, Client};
use harness::machine::engine::Engine;
use harness::market::{Market, Shape};
use harness::package::Package;
use harness::services::s3::S3;
use harness::wait::{until, until_for};

/// Forty lines to a chunk. Slow, so that it can be caught at work.
const SLOW_CUT: &str = r#"
cd "$CHUNKS_DIR"
awk '{ print > ("data_" int((NR - 1) / 40) ".bin") }' "$SOURCE_DIR"/*
"#;
const SLOW_COUNT: &str = r#"
echo "at work"
sleep 1
wc -lw < "$TASK_DIR/data.bin" > "$TASK_RESULTS_DIR/count.txt"
"#;
const SLOW_SUM: &str = r#"
cat "$TASK_RESULTS_DIR"/* | awk '{l += $1; w += $2} END {print l, w}' > "$OUTPUT_DIR/total.txt"
"#;

/// What chunks and the assembler give beside their counts: too much to travel in messages, so that
/// the bucket is needed. It changes no sum.
const LARGE_COUNT: &str = r#"
yes "0 0" | head -n 4096 > "$TASK_RESULTS_DIR/zeros.txt"
"#;
const LARGE_SUM: &str = r#"
yes "0 0" | head -n 4096 > "$OUTPUT_DIR/zeros.txt"
"#;

/// A word count whose every phase is a slow container of the customer's own.
pub async fn push_slow_word_count(client: &Client) -> Result<()> {
    push_word_count_of(client, Duration::from_secs(2), ["", ""]).await
}

/// The same with results that lie in the bucket, whose partitioner and assembler take at least this
/// time each.
pub async fn push_large_word_count(client: &Client, engines: Duration) -> Result<()> {
    push_word_count_of(client, engines, [LARGE_COUNT, LARGE_SUM]).await
}

async fn push_word_count_of(
    client: &Client,
    engines: Duration,
    [with_count, with_sum]: [&str; 2],
) -> Result<()> {
    let slow = |script: &str| format!("sleep {}{script}", engines.as_secs());
    client.push(&Package::partitioner("slow-cut", &slow(SLOW_CUT))).await?;
    client.push(&Package::app("slow-count", &format!("{SLOW_COUNT}{with_count}"))).await?;
    let sum = slow(&format!("{SLOW_SUM}{with_sum}"));
    client.push(&Package::assembler("slow-sum", &sum)).await?;
    client.template("slow-cut", "slow-count", "slow-sum").await
}

pub fn slow_word_count() -> Value {
    json!({
        "templateId": "slow-count", "name": "slow words",
        "dataSource": {"dataSourceDescriptor": "file"},
        "dataDestination": {"dataSourceDescriptor": "bucket"},
    })
}

/// Waits until tasks of the job run on nodes while the job is in this state.
pub async fn at_work(client: &Client, id: &str, state: &str) -> Result<()> {
    until(&format!("tasks in {state}"), async || {
        let progress = client.progress(id).await?;
        ensure!(progress["status"] != "failed", "{progress}");
        let running = progress["tasksRunning"].as_u64().unwrap_or(0);
        Ok((progress["state"] == state && running > 0).then_some(()))
    })
    .await
}

/// Runs the slow word count, kills the server in the given state with tasks at work, and starts
/// it again under the same nodes.
async fn the_server_dies_while(state: &'static str) -> Result<()> {
    Market::open(Shape::nodes(2), async |market, client| {
        push_slow_word_count(&client).await?;
        let input = sample(160);
        let nodes = market.node_ids();
        let id = client.start(slow_word_count(), Some(input.as_bytes())).await?;

        at_work(&client, &id, state).await?;
        market.kill_server()?;
        market.start_server().await?;
        let client = market.client().await?;
        client.reached(&id, COMPLETE).await?;

        assert_eq!(client.results(&id).await?["total.txt"], counted(&input));
        assert_eq!(market.node_ids(), nodes, "the nodes' processes kept running");
        paid_once(&client).await
    })
    .await
}

/// The grant, and one line for the one run.
pub async fn paid_once(client: &Client) -> Result<()> {
    let lines = client.lines().await?;
    let balance = client.balance().await?;
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(balance.total, balance.available);
    assert_eq!(lines[0].balance, balance.total);
    Ok(())
}

#[tokio::test]
async fn server_killed_while_data_is_cut_recovers() -> Result<()> {
    the_server_dies_while("JOB_STATE_PARTITIONING").await
}

#[tokio::test]
async fn server_killed_while_chunks_are_processed_recovers() -> Result<()> {
    the_server_dies_while("JOB_STATE_PARTITIONED").await
}

#[tokio::test]
async fn server_killed_while_results_are_folded_recovers() -> Result<()> {
    the_server_dies_while("JOB_STATE_MERGING").await
}

#[tokio::test]
async fn server_killed_while_results_are_delivered_recovers() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        let s3 = S3::start().await?;
        push_word_count(&client).await?;
        let input = sample(400);
        let mut order = word_count(input.len() / 3);
        order["dataDestination"] = s3.place_with_keys("out");
        s3.close_gate();
        let id = client.start(order, Some(input.as_bytes())).await?;

        until("a write that waits", async || {
            let progress = client.progress(&id).await?;
            ensure!(progress["status"] != "failed", "{progress}");
            Ok((s3.writes() > 0).then_some(()))
        })
        .await?;
        market.kill_server()?;
        s3.open_gate();
        market.start_server().await?;
        let client = market.client().await?;
        client.reached(&id, COMPLETE).await?;

        assert_eq!(std::fs::read_to_string(s3.path("out/total.txt"))?, counted(&input));
        paid_once(&client).await
    })
    .await
}

#[tokio::test]
async fn server_killed_repeatedly_loses_nothing() -> Result<()> {
    Market::open(Shape::nodes(2), async |market, client| {
        push_word_count(&client).await?;
        let input = sample(3_000);
        let id = client.start(word_count(input.len() / 24), Some(input.as_bytes())).await?;

        // Each time a little more has been done, so it dies in different phases.
        for done in [0, 4, 8, 16, 22] {
            let client = market.client().await?;
            until("progress", async || {
                let progress = client.progress(&id).await?;
                ensure!(progress["status"] != "failed", "{progress}");
                let chunks = progress["chunksDone"].as_u64().context("chunksDone")?;
                Ok((chunks >= done || progress["state"] == COMPLETE).then_some(()))
            })
            .await?;
            market.kill_server()?;
            market.start_server().await?;
        }
        let client = market.client().await?;
        client.reached(&id, COMPLETE).await?;

        assert_eq!(client.results(&id).await?["total.txt"], counted(&input));
        paid_once(&client).await
    })
    .await
}

#[tokio::test]
async fn node_killed_in_the_middle_of_a_task_is_replaced_by_another() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        push_slow_word_count(&client).await?;
        let input = sample(120);
        let id = client.start(slow_word_count(), Some(input.as_bytes())).await?;

        at_work(&client, &id, "JOB_STATE_PARTITIONED").await?;
        market.kill_node(0)?;
        market.add_node().await?;
        client.reached(&id, COMPLETE).await?;

        assert_eq!(client.results(&id).await?["total.txt"], counted(&input));
        let tasks = client.get(&format!("/v1/customer/jobs/{id}/tasks")).await?;
        let attempts = |task: &Value| task["attempt"].as_u64().unwrap_or(0);
        let tasks = tasks["tasks"].as_array().context("tasks")?;
        assert!(tasks.iter().any(|task| attempts(task) > 1), "{tasks:?}");
        paid_once(&client).await
    })
    .await
}

#[tokio::test]
async fn node_that_returns_resumes_its_tasks() -> Result<()> {
    Market::open(Shape::nodes(1).set("NODES__LEASE_SECS", "60"), async |market, client| {
        push_slow_word_count(&client).await?;
        let input = sample(120);
        let id = client.start(slow_word_count(), Some(input.as_bytes())).await?;

        at_work(&client, &id, "JOB_STATE_PARTITIONED").await?;
        market.kill_node(0)?;
        market.start_node(0)?;
        // Long before the leases would have run out: the node said itself that it had lost them.
        client.reached(&id, COMPLETE).await?;

        assert_eq!(client.results(&id).await?["total.txt"], counted(&input));
        paid_once(&client).await
    })
    .await
}

#[tokio::test]
async fn node_that_works_in_silence_for_longer_than_a_lease_keeps_its_task() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        client.push(&Package::app("quiet", "sleep 6")).await?;
        client.template("passthrough", "quiet", "passthrough").await?;
        let order = json!({"templateId": "quiet", "dataSource": {"dataSourceDescriptor": "bypass"},
            "dataDestination": {"dataSourceDescriptor": "bypass"}});

        let id = client.start(order, None).await?;
        client.reached(&id, COMPLETE).await?;

        let tasks = client.get(&format!("/v1/customer/jobs/{id}/tasks")).await?;
        assert_eq!(tasks["tasks"][0]["attempt"], 1, "{tasks}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn run_continues_after_server_and_node_are_killed_and_restarted() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        push_slow_word_count(&client).await?;
        let input = sample(120);
        let id = client.start(slow_word_count(), Some(input.as_bytes())).await?;

        at_work(&client, &id, "JOB_STATE_PARTITIONED").await?;
        market.kill_server()?;
        market.kill_node(0)?;
        market.start_node(0)?;
        market.start_server().await?;
        let client = market.client().await?;
        client.reached(&id, COMPLETE).await?;

        assert_eq!(client.results(&id).await?["total.txt"], counted(&input));
        paid_once(&client).await
    })
    .await
}

#[tokio::test]
async fn run_continues_after_the_container_engine_is_killed_and_restarted() -> Result<()> {
    let Some(mut engine) = Engine::start().await? else { return Ok(()) };
    Market::open(Shape::nodes(1).engine(&engine.host()), async |market, client| {
        push_slow_word_count(&client).await?;
        let input = sample(120);
        let id = client.start(slow_word_count(), Some(input.as_bytes())).await?;

        at_work(&client, &id, "JOB_STATE_PARTITIONED").await?;
        engine.kill().await?;
        let explain = format!("/v1/customer/jobs/{id}/explain");
        until("the customer is told", async || {
            let told = client.get(&explain).await?["reasons"].to_string();
            Ok(told.contains("container engine").then_some(()))
        })
        .await?;
        engine.start_again().await?;
        // The node has failed several times in a row, and gets no task for a minute.
        until_for(Duration::from_secs(180), "the end of the run", async || {
            let state = client.progress(&id).await?["state"].take();
            ensure!(state != "JOB_STATE_FAILED", "{:?}", client.progress(&id).await?);
            Ok((state == COMPLETE).then_some(()))
        })
        .await?;

        assert_eq!(client.results(&id).await?["total.txt"], counted(&input));
        paid_once(&client).await?;
        market.node(0)?.terminate(Duration::from_secs(20)).await?;
        until("no container is left", async || Ok((engine.containers()? == 0).then_some(()))).await
    })
    .await
}

#[tokio::test]
async fn server_and_its_nodes_stop_cleanly_on_request() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        push_slow_word_count(&client).await?;
        let input = sample(80);
        let id = client.start(slow_word_count(), Some(input.as_bytes())).await?;
        at_work(&client, &id, "JOB_STATE_PARTITIONED").await?;

        let stopped = market.server()?.terminate(Duration::from_secs(10)).await?;
        assert!(stopped.success(), "{stopped}");
        let stopped = market.node(0)?.terminate(Duration::from_secs(20)).await?;
        assert!(stopped.success(), "{stopped}");

        market.start_server().await?;
        market.start_node(0)?;
        let client = market.client().await?;
        client.reached(&id, COMPLETE).await?;
        assert_eq!(client.results(&id).await?["total.txt"], counted(&input));
        paid_once(&client).await
    })
    .await
}

/// The state of a top-up that has been asked for under this name, once more or for the first time.
async fn topped_up(client: &Client, name: &str) -> Result<Value> {
    let request = client.request(Method::POST, "/v1/wallet/top_up");
    let request = request.header("Idempotency-Key", name).json(&json!({"amount": 100}));
    let asked: Value = request.send().await?.error_for_status()?.json().await?;
    let id = asked["topUpRequest"]["id"].as_str().context("id")?;
    let path = format!("/v1/wallet/top_ups/{id}/state");
    Ok(client.post(&path, json!({"state": "CONFIRMED"})).await?["topUpRequest"].take())
}

#[tokio::test]
async fn credits_added_during_a_server_kill_are_booked_once() -> Result<()> {
    Market::open(Shape::nodes(0), async |market, client| {
        let before = client.balance().await?.total;
        for round in 0..5 {
            let names: Vec<_> = (0..8).map(|n| format!("{round}-{n}")).collect();
            let client = market.client().await?;
            let mut asking = JoinSet::new();
            for name in names.clone() {
                let client = client.clone();
                asking.spawn(async move { topped_up(&client, &name).await });
            }
            // The others are then in the middle of it.
            asking.join_next().await.context("one answers")??.context("before the kill")?;
            market.kill_server()?;
            asking.join_all().await.into_iter().for_each(drop);
            market.start_server().await?;

            let client = market.client().await?;
            for name in names {
                assert_eq!(topped_up(&client, &name).await?["state"], "CONFIRMED");
            }
        }
        let client = market.client().await?;
        let came = client.lines().await?.iter().filter(|line| line.units == 100_0000_0000).count();
        assert_eq!(came, 40);
        let after = client.balance().await?.total;
        assert_eq!(after.units() - before.units(), 40 * 100_0000_0000);
        let books = client.get("/v1/wallet/reconciliation").await?;
        assert_eq!(books["differences"], 0, "{books}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn single_process_setup_recovers_after_a_kill() -> Result<()> {
    Market::open(Shape::up(2), async |market, client| {
        push_slow_word_count(&client).await?;
        let input = sample(160);
        let id = client.start(slow_word_count(), Some(input.as_bytes())).await?;

        for state in ["JOB_STATE_PARTITIONING", "JOB_STATE_PARTITIONED", "JOB_STATE_MERGING"] {
            let client = market.client().await?;
            at_work(&client, &id, state).await?;
            market.kill_server()?;
            market.start_server().await?;
        }
        let client = market.client().await?;
        client.reached(&id, COMPLETE).await?;

        assert_eq!(client.results(&id).await?["total.txt"], counted(&input));
        let mode =
            std::fs::metadata(market.server_folder().join("credentials.json"))?.permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        let stopped = market.server()?.terminate(Duration::from_secs(10)).await?;
        assert!(stopped.success(), "{stopped}");
        assert_eq!(market.containers()?, 0, "nothing is left behind");
        market.start_server().await?;
        paid_once(&market.client().await?).await
    })
    .await
}
