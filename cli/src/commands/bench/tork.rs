//! Jobs of one task a second through Tork's API, and the time from step to step of jobs of several,
//! on a real node whose containers are shared by the runs of their workspace.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::figure::Figure;
use super::report::Report;
use super::setup::container;
use super::setup::real_node::RealNode;
use super::setup::server_process::World;
use crate::client::failure::Failure;
use crate::client::output::note;
use crate::client::session::Session;
use crate::commands::image;

const JOBS: &str = "/compat/tork/jobs";
const PERIOD: Duration = Duration::from_millis(2);
const LIMIT: Duration = Duration::from_secs(300);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Jobs of one task
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    jobs: u32,
    /// Clients that create them side by side
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    clients: u32,
    /// Tasks at a time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    slots: u32,
    /// Jobs of several steps, one after the other
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    chains: u32,
    /// Their steps
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=50))]
    steps: u32,
    /// Give each run containers of its own, as workspaces have it by default
    #[arg(long)]
    apart: bool,
}

/// `None` where no container engine answers.
pub async fn run(args: &Args) -> Result<Option<Report>, Failure> {
    let engine = match container::engine().await {
        Ok(engine) => engine,
        Err(error) => {
            note(format_args!("tork: SKIPPED, no container engine answers: {error}"));
            return Ok(None);
        }
    };
    let world = World::start(None).await?;
    let session = &world.session;
    container::make_image(&engine)
        .await
        .map_err(|error| Failure::local("the benchmark's image cannot be made", error))?;
    let uploaded = image::upload(container::TINY, session).await;
    // Nodes bring their own copy of what was pushed.
    container::remove_image(&engine)
        .await
        .map_err(|error| Failure::local("the benchmark's image cannot be removed", error))?;
    uploaded?;
    let containers = if args.apart { "run" } else { "workspace" };
    let workspace = session.client.url("/v1/workspace", &[]);
    session.client.send(Method::PATCH, workspace, &json!({ "containers": containers })).await?;
    let node = RealNode::start(&world, &world.aside("node")?, args.slots).await?;
    // The first one brings the image and makes containers, and counts for nothing.
    chain(session, args.slots * 2).await?;

    let before = world.usage()?.cpu;
    let took = one_task_jobs(&world, args).await?;
    let cpu = world.usage()?.cpu.saturating_sub(before);
    let mut times = Vec::new();
    for _ in 0..args.chains {
        times.push(chain(session, args.steps).await? / args.steps);
    }
    node.stop().await?;

    times.sort_unstable();
    let percentile = |percent: usize| times.get(times.len() * percent / 100).or(times.last());
    let millis = |percent| Figure::millis(percentile(percent).copied().unwrap_or_default());
    let jobs = u64::from(args.jobs);
    let mut report = Report::new("tork: jobs through Tork's API on a real node");
    report.row("jobs of one task", Figure::whole(jobs), "");
    report.row("at a time", Figure::whole(args.slots.into()), "");
    report.row("from the first request to all settled", Figure::rate(jobs, took), "jobs/s");
    report.row("server CPU a job", Figure::millis_each(cpu, jobs), "ms");
    report.row("jobs of several steps", Figure::whole(args.chains.into()), "");
    report.row("their steps", Figure::whole(args.steps.into()), "");
    report.row("a step with its program: p50 of the jobs", millis(50), "ms");
    report.row("a step with its program: p90 of the jobs", millis(90), "ms");
    Ok(Some(report))
}

/// The time from the first request until all jobs are settled.
async fn one_task_jobs(world: &World, args: &Args) -> Result<Duration, Failure> {
    let (start, body) = (Instant::now(), body(1));
    let clients = (0..args.clients).map(|client| {
        let body = &body;
        async move {
            for _ in (client..args.jobs).step_by(args.clients as usize) {
                create(&world.session, body).await?;
            }
            Ok::<_, Failure>(())
        }
    });
    futures::future::try_join_all(clients).await?;
    while world.holds_credits().await? {
        within(start)?;
        sleep(PERIOD).await;
    }
    Ok(start.elapsed())
}

/// The time of one job of so many steps, from its request to its end.
async fn chain(session: &Session, steps: u32) -> Result<Duration, Failure> {
    #[derive(Deserialize)]
    struct Job {
        state: String,
    }
    let start = Instant::now();
    let id = create(session, &body(steps)).await?;
    let url = session.client.url(JOBS, &[&id]);
    loop {
        let job: Job = session.client.get(url.clone()).await?.read()?;
        match job.state.as_str() {
            "COMPLETED" => return Ok(start.elapsed()),
            "FAILED" | "CANCELLED" => {
                let reason = format!("it is {}", job.state);
                return Err(Failure::JobFailed { job: id, reason });
            }
            _ => within(start)?,
        }
        sleep(PERIOD).await;
    }
}

async fn create(session: &Session, body: &Value) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Created {
        id: String,
    }
    let url = session.client.url(JOBS, &[]);
    Ok(session.client.post(url, body).await?.read::<Created>()?.id)
}

fn body(steps: u32) -> Value {
    let step =
        |n| json!({ "name": format!("step {n}"), "image": container::TINY, "cmd": ["/main"] });
    json!({ "name": "bench", "tasks": (0..steps).map(step).collect::<Vec<_>>() })
}

fn within(start: Instant) -> Result<(), Failure> {
    if start.elapsed() < LIMIT {
        return Ok(());
    }
    Err(Failure::local("the jobs did not end", format!("within {} s", LIMIT.as_secs())))
}
