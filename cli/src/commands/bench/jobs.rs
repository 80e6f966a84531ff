//! What it takes to create a job of a template and to run it, up to the accepted run.

use std::time::Duration;

use tokio::time::Instant;

use super::figure::Figure;
use super::report::Report;
use super::setup::job;
use super::setup::server_process::World;
use crate::client::failure::Failure;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Jobs that are made one after the other, and so many again side by side
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    jobs: u32,
    /// Clients side by side
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    clients: u32,
    /// An empty PostgreSQL database, instead of SQLite: postgres://user:password@host/database
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
}

pub async fn run(args: &Args) -> Result<Report, Failure> {
    let world = World::start(args.postgres.as_deref()).await?;
    job::prepare(&world.session, &world.aside("package")?).await?;
    // The first finds everything unread and counts for nothing.
    made(&world).await?;
    let before = world.usage()?.cpu;
    let (mut times, mut last) = (Vec::new(), String::new());
    for _ in 0..args.jobs {
        let start = Instant::now();
        last = made(&world).await?;
        times.push(start.elapsed());
    }
    let cpu = world.usage()?.cpu.saturating_sub(before);
    let (before, start) = (world.usage()?.cpu, Instant::now());
    let clients = (0..args.clients).map(|client| {
        let world = &world;
        async move {
            for _ in (client..args.jobs).step_by(args.clients as usize) {
                made(world).await?;
            }
            Ok::<_, Failure>(())
        }
    });
    futures::future::try_join_all(clients).await?;
    let side_by_side = start.elapsed();
    let together = world.usage()?.cpu.saturating_sub(before);
    let (reads, reading) = read(&world, &last, args.jobs).await?;

    times.sort_unstable();
    let percentile = |percent: usize| times.get(times.len() * percent / 100).or(times.last());
    let millis = |percent| Figure::millis(percentile(percent).copied().unwrap_or_default());
    let jobs = u64::from(args.jobs);
    let mut report = Report::new("jobs: from creating one to its accepted run");
    report.row("jobs", Figure::whole(jobs), "");
    report.row("one after the other: p50", millis(50), "ms");
    report.row("one after the other: p99", millis(99), "ms");
    report.row("server CPU a job", Figure::millis_each(cpu, jobs), "ms");
    report.row("clients", Figure::whole(args.clients.into()), "");
    report.row("side by side", Figure::rate(jobs, side_by_side), "jobs/s");
    report.row("side by side: server CPU a job", Figure::millis_each(together, jobs), "ms");
    report.row("reading a job: p50", Figure::millis(reads), "ms");
    report.row("reading a job: server CPU", Figure::millis_each(reading, jobs), "ms");
    Ok(report)
}

/// Creates a job, runs it, and gives its id.
async fn made(world: &World) -> Result<String, Failure> {
    let id = job::create(&world.session, 1).await?;
    job::run(&world.session, &id).await?;
    Ok(id)
}

/// Reads a job so many times; gives the time of one in the middle, and the server's CPU for all.
async fn read(world: &World, job: &str, times: u32) -> Result<(Duration, Duration), Failure> {
    let before = world.usage()?.cpu;
    let mut each = Vec::new();
    for _ in 0..times {
        let start = Instant::now();
        job::read(&world.session, job).await?;
        each.push(start.elapsed());
    }
    let cpu = world.usage()?.cpu.saturating_sub(before);
    each.sort_unstable();
    Ok((each.get(each.len() / 2).copied().unwrap_or_default(), cpu))
}
