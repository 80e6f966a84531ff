//! What it costs to accept a very large run, and to come back to it after a kill.

use std::time::Duration;

use tokio::time::Instant;

use super::figure::Figure;
use super::report::Report;
use super::setup::fleet::{Fleet, Size};
use super::setup::job;
use super::setup::job::Progress;
use super::setup::server_process::World;
use crate::client::failure::Failure;

const CUT_LIMIT: Duration = Duration::from_secs(60);
const PERIOD: Duration = Duration::from_millis(5);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Chunks of the run
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    chunks: u32,
    /// Runs of as many chunks; the last one is followed
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    runs: u32,
    /// The longest that is waited for half of them to be done, before the kill
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    #[command(flatten)]
    size: Size,
}

pub async fn run(args: &Args) -> Result<Report, Failure> {
    let mut world = World::start(None).await?;
    let folder = world.aside("nodes")?;
    job::prepare(&world.session, &folder).await?;
    let mut report = Report::new("accept: a very large run, and a kill in its middle");
    let job = accept(&world, args, &mut report).await?;
    let _fleet = Fleet::join(&world.session, &world.addresses, &folder, args.size).await?;
    let half = u64::from(args.chunks / 2);
    let start = Instant::now();
    let patience = Duration::from_secs(args.seconds);
    let enough = |progress: &Progress| progress.chunks_done >= half || start.elapsed() >= patience;
    let limit = patience + CUT_LIMIT;
    let calm = (Duration::from_millis(200), limit);
    let middle = job::follow(&world.session, &job, calm, enough).await?;
    report.row("chunks done at the kill", Figure::whole(middle.chunks_done), "");
    report.row("server memory then", Figure::mebibytes(world.usage()?.memory), "MiB");
    let restart = world.kill_and_restart().await?;
    let start = Instant::now();
    let kept = job::follow(&world.session, &job, (PERIOD, CUT_LIMIT), |_| true).await?;
    let on = |progress: &Progress| progress.chunks_done > kept.chunks_done;
    job::follow(&world.session, &job, (PERIOD, CUT_LIMIT), on).await?;
    report.row("chunks done after the restart", Figure::whole(kept.chunks_done), "");
    report.row("restart until ready", Figure::millis(restart), "ms");
    report.row("until the next chunk is done", Figure::millis(restart + start.elapsed()), "ms");
    report.row("server memory after the restart", Figure::mebibytes(world.usage()?.memory), "MiB");
    Ok(report)
}

/// Starts the runs while there are no nodes, and gives the job of the last one.
async fn accept(world: &World, args: &Args, report: &mut Report) -> Result<String, Failure> {
    let mut jobs = Vec::new();
    for _ in 0..args.runs {
        jobs.push(job::create(&world.session, args.chunks).await?);
    }
    let (before, start) = (world.usage()?, Instant::now());
    for job in &jobs {
        job::run(&world.session, job).await?;
    }
    let accepted = start.elapsed();
    let (pace, mut chunks) = ((PERIOD, CUT_LIMIT), 0);
    for job in &jobs {
        let cut = job::follow(&world.session, job, pace, Progress::is_cut).await?;
        chunks += cut.chunks.unwrap_or(0);
    }
    let known = start.elapsed();
    let after = world.usage()?;
    report.row("runs", Figure::whole(args.runs.into()), "");
    report.row("chunks", Figure::whole(chunks), "");
    report.row("accepted", Figure::millis(accepted), "ms");
    report.row("chunks known", Figure::millis(known), "ms");
    let growth = after.memory.saturating_sub(before.memory);
    report.row("server memory before", Figure::mebibytes(before.memory), "MiB");
    report.row("server memory growth", Figure::mebibytes(growth), "MiB");
    Ok(jobs.pop().unwrap_or_default())
}
