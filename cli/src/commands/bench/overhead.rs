//! What a chunk costs beyond its container: the whole path on one node with one slot, beside the
//! same container run bare. The two take turns, so that a busy machine is busy for both.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::figure::Figure;
use super::report::Report;
use super::setup::container;
use super::setup::job;
use super::setup::job::Progress;
use super::setup::real_node::RealNode;
use super::setup::server_process::World;
use crate::client::failure::Failure;
use crate::client::output::note;

const ROUND_LIMIT: Duration = Duration::from_secs(120);
const PERIOD: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rounds; each is a run of some chunks, and then as many bare containers
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Chunks of each run
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=1000))]
    chunks: u32,
}

/// `None` where no container engine answers.
pub async fn run(args: &Args) -> Result<Option<Report>, Failure> {
    let engine = match container::engine().await {
        Ok(engine) => engine,
        Err(error) => {
            note(format_args!("overhead: SKIPPED, no container engine answers: {error}"));
            return Ok(None);
        }
    };
    let world = World::start(None).await?;
    let folder = world.aside("node")?;
    job::prepare(&world.session, &folder).await?;
    let node = RealNode::start(&world, &folder, 1).await?;

    // The first run finds caches empty and counts for nothing.
    round(&world, 2).await?;
    let (mut whole, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        whole.push(round(&world, args.chunks).await?);
        for _ in 1..args.chunks {
            let time = container::cycle(&engine, &folder.join("package/app")).await;
            bare.push(time.map_err(|error| Failure::caused("a bare container failed", &error))?);
        }
    }
    node.stop().await?;

    let (whole, bare) = (median(&mut whole), median(&mut bare));
    let mut report = Report::new("overhead: a chunk beside its bare container, one slot, p50");
    report.row("samples of each", Figure::whole((args.rounds * (args.chunks - 1)).into()), "");
    report.row("chunk", Figure::millis(whole), "ms");
    report.row("bare create, start, wait, remove", Figure::millis(bare), "ms");
    report.row("overhead", Figure::millis(whole.saturating_sub(bare)), "ms");
    Ok(Some(report))
}

/// Runs a job and gives the mean time from the end of a chunk to the end of the next: short ones are
/// acknowledged several at a time.
async fn round(world: &World, chunks: u32) -> Result<Duration, Failure> {
    #[derive(Deserialize)]
    struct Tasks {
        tasks: Vec<Task>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Task {
        completed_at: DateTime<Utc>,
    }
    let session = &world.session;
    let job = job::create(session, chunks).await?;
    job::run(session, &job).await?;
    job::follow(session, &job, (PERIOD, ROUND_LIMIT), Progress::is_final).await?;
    let url = session.client.url("/v1/customer/jobs", &[&job, "tasks"]);
    let tasks: Tasks = session.client.get(url).await?.read()?;
    let ends = || tasks.tasks.iter().map(|task| task.completed_at);
    let (Some(first), Some(last)) = (ends().min(), ends().max()) else {
        return Ok(Duration::ZERO);
    };
    let gaps = u32::try_from(tasks.tasks.len()).unwrap_or(u32::MAX).saturating_sub(1).max(1);
    Ok((last - first).to_std().unwrap_or_default() / gaps)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
