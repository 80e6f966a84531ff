//! What is around a task's program in a container: one that stays, a fresh one, and one that the
//! engine makes without a supervisor, beside a bare container and beside a program that is started
//! on the machine itself. All take turns, so that a busy machine is busy for each.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use common::compute::container::{Isolation, Profile};
use node::own_task::OwnTask;
use tokio::time::Instant;

use super::figure::Figure;
use super::report::Report;
use super::setup::container;
use crate::client::failure::Failure;
use crate::client::output::note;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rounds; each runs one task in every other way, and some in a container that stays
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Tasks of each round that follow one another in a container that stays
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    tasks: u32,
}

/// How long each task of one kind took.
type Times = Vec<Duration>;

/// `None` where no container engine answers.
pub async fn run(args: &Args) -> Result<Option<Report>, Failure> {
    let bare_engine = match container::engine().await {
        Ok(engine) => engine,
        Err(error) => {
            note(format_args!("containers: SKIPPED, no container engine answers: {error}"));
            return Ok(None);
        }
    };
    let folder = tempfile::tempdir().map_err(|error| Failure::caused("no folder", &error))?;
    let program = folder.path().join("main");
    fs::write(&program, node::guest::NOTHING)
        .and_then(|()| fs::set_permissions(&program, Permissions::from_mode(0o755)))
        .map_err(|error| Failure::caused("the program cannot be written", &error))?;
    let failed = |error: node::own_task::Error| Failure::caused("a container failed", &error);
    let own = OwnTask::new(node::guest::NOTHING, Profile::Sealed).await.map_err(failed)?;
    let (mut warm, mut billed, mut fresh) = (Times::new(), Times::new(), Times::new());
    let (mut apart, mut bare, mut plain) = (Times::new(), Times::new(), Times::new());
    for _ in 0..args.rounds {
        // The first of them may be in a new container, and counts for nothing.
        for n in 0..=args.tasks {
            let start = Instant::now();
            let ended = own.run_supervised(Isolation::Warm).await.map_err(failed)?;
            if let Some(ended) = ended.filter(|_| n > 0) {
                warm.push(start.elapsed());
                billed.push(Duration::from_millis(ended.usage.wall_ms));
            }
            let start = Instant::now();
            let ran = tokio::process::Command::new(&program).status().await;
            ran.map_err(|error| Failure::caused("the program cannot be run", &error))?;
            plain.push(start.elapsed());
        }
        let start = Instant::now();
        if own.run_supervised(Isolation::Fresh).await.map_err(failed)?.is_some() {
            fresh.push(start.elapsed());
        }
        let start = Instant::now();
        own.run_apart().await.map_err(failed)?;
        apart.push(start.elapsed());
        let time = container::cycle(&bare_engine, folder.path()).await;
        bare.push(time.map_err(|error| Failure::caused("a bare container failed", &error))?);
    }
    own.end().await;
    if warm.is_empty() {
        note(format_args!("containers: no container can stay for several tasks on this machine"));
    }
    let mut report = Report::new("containers: a program that does nothing, one at a time");
    let plain_p50 = percentile(&mut plain, 50);
    for (name, times) in [
        ("container that stays", &mut warm),
        ("fresh container", &mut fresh),
        ("container of the engine's for one task", &mut apart),
        ("bare create, start, wait, remove", &mut bare),
        ("program started on the machine", &mut plain),
    ] {
        let (p50, p99) = (percentile(times, 50), percentile(times, 99));
        report.row(format!("{name}: p50"), Figure::millis(p50), "ms");
        report.row(format!("{name}: p99"), Figure::millis(p99), "ms");
        report.row(format!("{name}: of a started program"), Figure::times(p50, plain_p50), "x");
    }
    report.row(
        "billed in a container that stays: p50",
        Figure::millis(percentile(&mut billed, 50)),
        "ms",
    );
    Ok(Some(report))
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len() * percent / 100).or(times.last()).copied().unwrap_or_default()
}
