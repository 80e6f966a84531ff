//! Chunks a second from a customer's `run` to paid results, through a real node and real
//! containers, beside the same program started on the machine itself.

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::process::Command;
use tokio::time::Instant;

use super::figure::Figure;
use super::report::Report;
use super::setup::job::Progress;
use super::setup::process::{self, Usage};
use super::setup::real_node::RealNode;
use super::setup::server_process::World;
use super::setup::{container, job};
use crate::client::failure::Failure;
use crate::client::output::note;

const LIMIT: Duration = Duration::from_secs(900);
const PERIOD: Duration = Duration::from_millis(20);
/// How often the state of a job of one chunk is asked for.
const SHORT_PERIOD: Duration = Duration::from_millis(2);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Chunks of the run
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    chunks: u32,
    /// Chunks, and programs, at a time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    slots: u32,
    /// Give each chunk a container of its own
    #[arg(long)]
    fresh: bool,
    /// Jobs of one chunk, one after the other, of each kind
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    singles: u32,
}

/// `None` where no container engine answers.
pub async fn run(args: &Args) -> Result<Option<Report>, Failure> {
    if let Err(error) = container::engine().await {
        note(format_args!("node: SKIPPED, no container engine answers: {error}"));
        return Ok(None);
    }
    let world = World::start(None).await?;
    let folder = world.aside("node")?;
    let isolation = if args.fresh { "fresh" } else { "warm" };
    job::prepare_isolated(&world.session, &folder, isolation).await?;
    let program = folder.join(job::PROGRAM);
    let node = RealNode::start(&world, &folder, args.slots).await?;
    // The first run finds caches empty and counts for nothing.
    complete(&world, args.slots * 2, PERIOD).await?;

    let half = args.chunks.div_ceil(2);
    let before = started(&program, half, args.slots).await?;
    let (server, own) = (world.usage()?, own_usage()?);
    let took = complete(&world, args.chunks, PERIOD).await?;
    let (server, own) = (world.usage()?.cpu - server.cpu, own_usage()?.cpu - own.cpu);
    let after = started(&program, half, args.slots).await?;
    let apart = singles(&world, args.singles).await?;
    let workspace = world.session.client.url("/v1/workspace", &[]);
    let shared = json!({ "containers": "workspace" });
    world.session.client.send(Method::PATCH, workspace, &shared).await?;
    complete(&world, args.slots * 2, PERIOD).await?;
    let together = singles(&world, args.singles).await?;
    node.stop().await?;

    let chunks = u64::from(args.chunks);
    let plain = (before + after) * args.chunks / (half * 2);
    let mut report = Report::new("node: chunks that do nothing, from run to paid");
    report.row("chunks", Figure::whole(chunks), "");
    report.row("at a time", Figure::whole(args.slots.into()), "");
    report.row("rate", Figure::rate(chunks, took), "chunks/s");
    report.row("programs started on the machine", Figure::rate(chunks, plain), "programs/s");
    report.row("time of chunks, of that of programs", Figure::times(took, plain), "x");
    report.row("server CPU a chunk", Figure::millis_each(server, chunks), "ms");
    report.row("node CPU a chunk, without containers", Figure::millis_each(own, chunks), "ms");
    report.row("jobs of one chunk, from run to complete", Figure::whole(args.singles.into()), "");
    for (whose, times) in [("each run's own", &apart), ("the workspace's", &together)] {
        for percent in [50, 99] {
            let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
            let time = times.get(at).copied().unwrap_or_default();
            let what = format!("in containers that are {whose}: p{percent}");
            report.row(&what, Figure::millis(time), "ms");
        }
    }
    Ok(Some(report))
}

/// The times of jobs of one chunk, the shortest first.
async fn singles(world: &World, jobs: u32) -> Result<Vec<Duration>, Failure> {
    let mut times = Vec::new();
    for _ in 0..jobs {
        times.push(complete(world, 1, SHORT_PERIOD).await?);
    }
    times.sort_unstable();
    Ok(times)
}

/// The time from starting a job of so many chunks until it is complete, asked for every `period`.
async fn complete(world: &World, chunks: u32, period: Duration) -> Result<Duration, Failure> {
    let session = &world.session;
    let job = job::create(session, chunks).await?;
    let start = Instant::now();
    job::run(session, &job).await?;
    job::follow(session, &job, (period, LIMIT), Progress::is_final).await?;
    Ok(start.elapsed())
}

/// Starts the program so often, so many at a time, and gives the time for all.
async fn started(program: &Path, times: u32, at_once: u32) -> Result<Duration, Failure> {
    let start = Instant::now();
    let workers = (0..at_once).map(|worker| async move {
        for _ in (worker..times).step_by(at_once as usize) {
            let ran = Command::new(program).status().await;
            ran.map_err(|error| Failure::caused("the program cannot be run", &error))?;
        }
        Ok::<_, Failure>(())
    });
    futures::future::try_join_all(workers).await?;
    Ok(start.elapsed())
}

fn own_usage() -> Result<Usage, Failure> {
    process::usage(std::process::id())
}
