//! kill -9 of the server while schedules fire: each nominal time makes one run.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use harness::client::{Client, text};
use harness::machine::test_clock::TestClock;
use harness::market::{Market, Shape};
use harness::package::Package;
use harness::services::postgres::Postgres;
use harness::wait::until;

const KILLS: u32 = 30;
const JOBS: usize = 3;
const EVERY: Duration = Duration::from_secs(10);
/// The server is killed so long after times have come, each time a little later.
const LATER: Duration = Duration::from_millis(4);

/// A job whose schedule leaves no time out, whatever the server went through.
async fn scheduled_job(client: &Client) -> Result<String> {
    let draft = json!({
        "template": "idle", "name": "by the clock",
        "source": {"type": "bypass"}, "destination": {"type": "bucket"},
    });
    let job = text(&client.post("/v1/jobs", draft).await?["id"])?;
    let rules = json!({"every_secs": EVERY.as_secs(), "overlap": "replace", "missed": "run_all"});
    let request = client.request(Method::PUT, &format!("/v1/jobs/{job}/schedule"));
    let answer = request.json(&rules).send().await?;
    ensure!(answer.status() == 200, "{}", answer.text().await?);
    Ok(job)
}

fn time(value: &Value) -> Result<DateTime<Utc>> {
    Ok(text(value)?.parse()?)
}

/// Waits until a job's schedule has settled all times until now.
async fn settled(client: &Client, job: &str, clock: &TestClock) -> Result<()> {
    until("all times settled", async || {
        let schedule = client.get(&format!("/v1/jobs/{job}/schedule")).await?;
        Ok((time(&schedule["next_at"])? > clock.now()).then_some(()))
    })
    .await
}

/// Each time from the first to the last has one run, and none was skipped.
async fn each_time_once(client: &Client, job: &str) -> Result<usize> {
    let runs = client.get(&format!("/v1/jobs/{job}/runs?limit=1000")).await?;
    let runs = runs["runs"].as_array().context("runs")?;
    let times = runs.iter().map(|run| time(&run["scheduled_for"]));
    let mut times: Vec<DateTime<Utc>> = times.collect::<Result<_>>()?;
    times.sort();
    let step = TimeDelta::from_std(EVERY)?;
    for pair in times.windows(2) {
        ensure!(pair[1] - pair[0] == step, "{job}: {} is followed by {}", pair[0], pair[1]);
    }
    let skips = client.get(&format!("/v1/jobs/{job}/schedule/skips")).await?;
    ensure!(skips["skips"] == json!([]), "{skips}");
    Ok(times.len())
}

async fn killed_while_schedules_fire(database: Option<&Postgres>) -> Result<()> {
    let mut clock = TestClock::new()?;
    let mut shape = clock.of(Shape::nodes(0));
    if let Some(database) = database {
        shape = shape.set("DATABASE_URL", &database.url());
    }
    Market::open(shape, async |market, client| {
        client.push(&Package::app("idle", "true")).await?;
        client.template("passthrough", "idle", "passthrough").await?;
        let mut jobs = Vec::new();
        for _ in 0..JOBS {
            jobs.push(scheduled_job(&client).await?);
        }

        for kill in 0..KILLS {
            clock.advance(EVERY * (1 + kill % 4))?;
            tokio::time::sleep(LATER * kill).await;
            market.kill_server()?;
            market.start_server().await?;
            let client = market.client().await?;
            for job in &jobs {
                settled(&client, job, &clock).await?;
            }
        }

        let client = market.client().await?;
        for job in &jobs {
            let times = each_time_once(&client, job).await?;
            ensure!(times > 2 * KILLS as usize, "{times} times are too few");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn schedule_makes_one_run_for_each_time_through_thirty_kills_on_sqlite() -> Result<()> {
    killed_while_schedules_fire(None).await
}

#[tokio::test]
async fn schedule_makes_one_run_for_each_time_through_thirty_kills_on_postgresql() -> Result<()> {
    let Some(database) = Postgres::create().await? else { return Ok(()) };
    killed_while_schedules_fire(Some(&database)).await?;
    database.remove().await
}
