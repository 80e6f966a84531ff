//! What many schedules cost a server that starts, and while none of them is due.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::process::Command;

use super::figure::Figure;
use super::report::Report;
use super::setup::server_process::World;
use crate::client::failure::Failure;

/// All are due later than any benchmark ends.
const AT: &str = "2099-01-01T00:00:00Z";
/// How long the server is watched while nothing is due.
const IDLE: Duration = Duration::from_secs(20);
/// Columns of a row that are like those of the schedule which is copied.
const LIKE: &str = "workspace, user_id, api_key, scopes, rules, state, revision, last_us";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Schedules
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    schedules: u32,
    /// An empty PostgreSQL database, instead of SQLite: postgres://user:password@host/database
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
}

pub async fn run(args: &Args) -> Result<Report, Failure> {
    let mut world = World::start(args.postgres.as_deref()).await?;
    set_one(&world).await?;
    let few = world.kill_and_restart().await?;
    let (few_memory, few_cpu) = (world.usage()?.memory, idle(&world).await?);
    world.kill().await?;
    match &args.postgres {
        Some(url) => query("psql", &[url, "-c", &copies_in_postgres(args.schedules)]).await?,
        None => {
            let file = world.database_file().display().to_string();
            query("sqlite3", &[&file, &copies_in_sqlite(args.schedules)]).await?;
        }
    }
    let many = world.restart().await?;
    let growth = world.usage()?.memory.saturating_sub(few_memory);
    let mut report = Report::new("schedules: many that are not due");
    report.row("schedules", Figure::whole(args.schedules.into()), "");
    report.row("start until ready, with one", Figure::millis(few), "ms");
    report.row("start until ready, with all", Figure::millis(many), "ms");
    report.row("server memory growth", Figure::mebibytes(growth), "MiB");
    report.row("idle CPU a second, with one", Figure::millis(few_cpu / seconds(IDLE)), "ms");
    let idle = idle(&world).await?;
    report.row("idle CPU a second, with all", Figure::millis(idle / seconds(IDLE)), "ms");
    Ok(report)
}

/// Sets a schedule of a call that is never made.
async fn set_one(world: &World) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Job {
        id: String,
    }
    let client = &world.session.client;
    let order = json!({"call": {"method": "GET", "url": "http://127.0.0.1:9/"}});
    let job: Job = client.post(client.url("/v1/jobs", &[]), &order).await?.read()?;
    let url = client.url("/v1/jobs", &[&job.id, "schedule"]);
    client.send(reqwest::Method::PUT, url, &json!({ "at": AT })).await.map(drop)
}

/// What the server uses while nothing happens.
async fn idle(world: &World) -> Result<Duration, Failure> {
    let before = world.usage()?.cpu;
    tokio::time::sleep(IDLE).await;
    Ok(world.usage()?.cpu.saturating_sub(before))
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1)
}

fn copies_in_sqlite(count: u32) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         INSERT INTO schedules (job, next_us, due_us, {LIKE}) \
         SELECT randomblob(16), next_us + i, due_us + i, {LIKE} \
         FROM n, (SELECT * FROM schedules LIMIT 1)"
    )
}

fn copies_in_postgres(count: u32) -> String {
    format!(
        "INSERT INTO schedules (job, next_us, due_us, {LIKE}) \
         SELECT gen_random_uuid(), next_us + i, due_us + i, {LIKE} \
         FROM generate_series(1, {count}) AS i, (SELECT * FROM schedules LIMIT 1) AS one"
    )
}

/// Runs a statement with the database's own client.
async fn query(program: &str, arguments: &[&str]) -> Result<(), Failure> {
    let what = format!("cannot fill the database with {program}");
    let output = Command::new(program).args(arguments).output().await;
    let output = output.map_err(|error| Failure::local(&what, error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::local(what, String::from_utf8_lossy(&output.stderr)))
}
