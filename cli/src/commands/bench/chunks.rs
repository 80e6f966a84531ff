//! Chunks a second, from the API to signed receipts and back, with simulated nodes.

use std::time::Duration;

use tokio::time::Instant;

use super::figure::Figure;
use super::report::Report;
use super::setup::fleet::{Fleet, Size};
use super::setup::job;
use super::setup::server_process::World;
use crate::client::failure::Failure;

const LIMIT: Duration = Duration::from_secs(900);
const PERIOD: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Chunks of the run
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    chunks: u32,
    #[command(flatten)]
    size: Size,
    /// An empty PostgreSQL database, instead of SQLite: postgres://user:password@host/database
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
}

pub async fn run(args: &Args) -> Result<Report, Failure> {
    let world = World::start(args.postgres.as_deref()).await?;
    let folder = world.aside("nodes")?;
    job::prepare(&world.session, &folder).await?;
    let job = job::create(&world.session, args.chunks).await?;
    let fleet = Fleet::join(&world.session, &world.addresses, &folder, args.size).await?;

    let (before, start) = (world.usage()?, Instant::now());
    job::run(&world.session, &job).await?;
    let pace = (PERIOD, LIMIT);
    let end = job::follow(&world.session, &job, pace, job::Progress::is_final).await?;
    let (time, after) = (start.elapsed(), world.usage()?);
    drop(fleet);
    // The last page, which has the most tasks before it.
    let asked = Instant::now();
    let last =
        job::page_of_tasks(&world.session, &job, end.chunks_done.saturating_sub(101)).await?;
    let page = asked.elapsed();

    let cpu = after.cpu.saturating_sub(before.cpu);
    let mut report = Report::new("chunks: a run with simulated nodes");
    report.row("nodes", Figure::whole(args.size.nodes.into()), "");
    report.row("chunks", Figure::whole(end.chunks_done), "");
    report.row("time", Figure::seconds(time), "s");
    report.row("rate", Figure::rate(end.chunks_done, time), "chunks/s");
    report.row("server CPU a chunk", Figure::millis_each(cpu, end.chunks_done), "ms");
    report.row("transactions", Figure::whole(world.transactions()?), "");
    report.row("tasks of the last page", Figure::whole(last as u64), "");
    report.row("last page of tasks", Figure::millis(page), "ms");
    report.row("server memory, peak", Figure::mebibytes(after.memory_peak), "MiB");
    Ok(report)
}
