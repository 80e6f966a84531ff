//! Calls against real servers that are killed, and whose clocks are moved.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use harness::client::{Client, text};
use harness::market::{Market, Shape};
use harness::services::postgres::Postgres;
use harness::services::receiver::Receiver;
use harness::wait::until;
use serde_json::{Value, json};

/// When each attempt is due after the one before.
const WAITS_SECS: [u64; 6] = [0, 300, 900, 3_600, 10_800, 21_600];

async fn start(client: &Client, call: Value) -> Result<String> {
    let job = client.post("/v1/jobs", json!({ "call": call })).await?;
    let path = format!("/v1/jobs/{}/runs", text(&job["id"])?);
    text(&client.post(&path, json!({})).await?["run"]["id"])
}

#[tokio::test]
async fn seven_attempts_are_made_at_their_times() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let clock = folder.path().join("clock");
    fs::write(&clock, "0")?;
    let receiver = Receiver::open().await?;
    let shape = Shape::nodes(0).set("TEST_CLOCK", &clock.display().to_string());
    Market::open(shape, async |market, _| {
        let tenant = market.tenant_with_key("clock", "qup").await?;
        // An access token would end as time goes on.
        let client = tenant.client.with_token(&tenant.key);
        let url = format!("{}/status/503", receiver.url);
        let order = json!({"method": "POST", "name": "a", "url": url});
        let job = client.post("/compat/quedup/jobs", order).await?;
        let path = format!("/compat/quedup/jobs/{}", text(&job["id"])?);
        let mut ahead_secs = 0;
        for (n, wait) in WAITS_SECS.into_iter().enumerate() {
            // Shortly before its time, nothing comes: the row says when it is due.
            let made = until("the next time", async || {
                let runs = client.get(&format!("{path}/runs")).await?;
                let attempts = runs["runs"][0]["attempts"].as_array().context("a list")?.clone();
                let is_made = attempts.get(n).is_some_and(|of| of["next_attempt_at"].is_string());
                Ok(is_made.then_some(attempts))
            })
            .await?;
            let began = text(&made[n]["started_at"])?.parse::<chrono::DateTime<chrono::Utc>>()?;
            let next =
                text(&made[n]["next_attempt_at"])?.parse::<chrono::DateTime<chrono::Utc>>()?;
            let planned = (next - began).num_seconds();
            ensure!(planned.unsigned_abs().abs_diff(wait) <= 5, "{n}: {planned} s and not {wait}");
            if wait > 0 {
                ensure!(receiver.received("/status").len() == n + 1, "attempt {n} came early");
            }
            ahead_secs += wait;
            fs::write(&clock, (ahead_secs * 1_000).to_string())?;
            until("the next attempt", async || {
                let received = receiver.received("/status").len();
                Ok((received >= n + 2).then_some(()))
            })
            .await?;
        }
        let ended = until("the end", async || {
            let job = client.get(&path).await?;
            Ok((job["status"] == "failed").then_some(job))
        })
        .await?;
        ensure!(ended["next_run_at"].is_null(), "{ended}");
        let received = receiver.received("/status");
        ensure!(received.len() == 7, "{} attempts", received.len());
        let id = received[0].header("webhook-id");
        ensure!(received.iter().all(|request| request.header("webhook-id") == id), "ids differ");
        let numbers: Vec<_> = received.iter().map(|r| r.header("fanfold-attempt")).collect();
        ensure!(numbers == ["1", "2", "3", "4", "5", "6", "7"], "{numbers:?}");
        Ok(())
    })
    .await
}

/// Kills the server thirty times while calls are in flight and in waits.
async fn kills(shape: Shape) -> Result<()> {
    const KILLS: usize = 30;
    const EACH: usize = 8;
    let receiver = Receiver::open().await?;
    Market::open(shape, async |market, client| {
        let mut client = client;
        let mut runs = BTreeMap::new();
        for kill in 0..KILLS {
            for n in 0..EACH {
                // Half of them fail once and are made again a second later.
                let kind = if n % 2 == 0 { "ok" } else { "fails/1" };
                let path = format!("/{kind}/{kill}-{n}");
                let url = format!("{}{path}", receiver.url);
                let call = json!({"method": "POST", "url": url,
                                  "retry": {"waits_secs": [1, 1, 1]}});
                runs.insert(start(&client, call).await?, path);
            }
            market.kill_server()?;
            market.start_server().await?;
            client = market.client().await?;
        }
        for (run, path) in &runs {
            let ended = until(&format!("the end of {run}"), async || {
                let run = client.get(&format!("/v1/runs/{run}")).await?;
                Ok(run["ended_at"].is_string().then_some(run))
            })
            .await?;
            ensure!(ended["state"] == "succeeded", "{ended}");
            let received = receiver.received(path);
            ensure!(!received.is_empty(), "{path} never came");
            let id = received[0].header("webhook-id");
            ensure!(received.iter().all(|r| r.header("webhook-id") == id), "{path} has two ids");
            let numbers: Vec<u32> = received
                .iter()
                .map(|r| r.header("fanfold-attempt").parse())
                .collect::<Result<_, _>>()?;
            ensure!(numbers.windows(2).all(|two| two[0] < two[1]), "{path}: {numbers:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn calls_survive_thirty_kills() -> Result<()> {
    kills(Shape::nodes(0)).await
}

#[tokio::test]
async fn calls_survive_thirty_kills_on_postgres() -> Result<()> {
    let Some(postgres) = Postgres::create().await? else { return Ok(()) };
    kills(Shape::nodes(0).set("DATABASE_URL", &postgres.url())).await
}
