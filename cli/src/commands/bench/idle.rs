//! What nodes that wait for work cost a server.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::figure::Figure;
use super::report::Report;
use super::setup::fleet::{Fleet, Results, Size};
use super::setup::job;
use super::setup::server_process::World;
use crate::client::failure::Failure;

/// How long the nodes may take to join and become quiet.
const JOINED_MAX: Duration = Duration::from_secs(300);
/// A server that has used less than this in a second of its time has heard of all nodes.
const QUIET: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Simulated nodes
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1000))]
    nodes: u32,
    /// How long they are watched
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

pub async fn run(args: &Args) -> Result<Report, Failure> {
    let world = World::start(None).await?;
    let before = world.usage()?.memory;
    let size = Size { nodes: args.nodes, slots: 4, results: Results::None, lines: 0 };
    let folder = world.aside("nodes")?;
    let _fleet = Fleet::join(&world.session, &world.addresses, &folder, size).await?;
    quiet(&world, args.nodes).await?;

    let (start, batches) = (world.usage()?, world.batches()?);
    sleep(Duration::from_secs(args.seconds)).await;
    let (end, written) = (world.usage()?, world.batches()?.saturating_sub(batches));
    let cpu = end.cpu.saturating_sub(start.cpu);
    let mut report = Report::new("idle: nodes that wait for work");
    report.row("nodes", Figure::whole(args.nodes.into()), "");
    report.row("time", Figure::whole(args.seconds), "s");
    report.row("server CPU a second", Figure::millis_each(cpu, args.seconds), "ms");
    report.row("transactions", Figure::whole(written), "");
    let growth = end.memory.saturating_sub(before);
    report.row("server memory growth", Figure::mebibytes(growth), "MiB");
    Ok(report)
}

/// Waits until all nodes have joined and have been answered.
async fn quiet(world: &World, nodes: u32) -> Result<(), Failure> {
    let start = Instant::now();
    while start.elapsed() < JOINED_MAX {
        let before = world.usage()?.cpu;
        sleep(Duration::from_secs(1)).await;
        let used = world.usage()?.cpu.saturating_sub(before);
        if used < QUIET && job::nodes(&world.session).await? >= u64::from(nodes) {
            return Ok(());
        }
    }
    Err(Failure::local("the nodes have not joined", format!("{:?} have passed", start.elapsed())))
}
