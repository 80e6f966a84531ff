//! Calls a second to a receiver on this machine, and a storm of retries to one that is not there.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::figure::Figure;
use super::report::Report;
use super::setup::server_process::World;
use crate::client::failure::Failure;

/// Starts that are asked for at once.
const STARTS: u32 = 32;
/// All calls begin together, once all runs have been accepted: so many milliseconds for each.
const ACCEPT_MS_EACH: u32 = 10;
const PERIOD: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(900);
/// The waits of the storm.
const WAITS_SECS: [u32; 3] = [2, 4, 8];
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Calls to the receiver
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    calls: u32,
    /// Calls of the storm
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    storm: u32,
    /// An empty PostgreSQL database, instead of SQLite: postgres://user:password@host/database
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
}

/// What became of many calls.
struct Wave {
    accepting: Duration,
    took: Duration,
    cpu: Duration,
    /// The longest that the server took to answer a request meanwhile.
    slowest: Duration,
}

pub async fn run(args: &Args) -> Result<Report, Failure> {
    let world = World::start(args.postgres.as_deref()).await?;
    let failed = |error| Failure::local("cannot listen", error);
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    tokio::spawn(serve(listener));
    let closed = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let dead = closed.local_addr().map_err(failed)?;
    drop(closed);

    let mut report = Report::new("calls: HTTP requests that the server makes");
    let wave = make(&world, args.calls, &format!("http://{address}/"), &[]).await?;
    report.row("calls", Figure::whole(args.calls.into()), "");
    report.row("runs accepted", Figure::rate(args.calls.into(), wave.accepting), "runs/s");
    report.row(
        "calls, from lease to settled",
        Figure::rate(args.calls.into(), wave.took),
        "calls/s",
    );
    report.row("server CPU a call", Figure::millis_each(wave.cpu, args.calls.into()), "ms");
    let attempts = u64::from(args.storm) * (WAITS_SECS.len() as u64 + 1);
    let storm = make(&world, args.storm, &format!("http://{dead}/"), &WAITS_SECS).await?;
    report.row("calls to a dead host", Figure::whole(args.storm.into()), "");
    report.row("their attempts", Figure::whole(attempts), "");
    report.row("until all have failed", Figure::seconds(storm.took), "s");
    report.row("server CPU an attempt", Figure::millis_each(storm.cpu, attempts), "ms");
    report.row("slowest other answer", Figure::millis(storm.slowest), "ms");
    let memory = world.usage()?.memory_peak;
    report.row("server memory, peak", Figure::mebibytes(memory), "MiB");
    Ok(report)
}

/// Starts so many runs of a call that all begin at one time, and waits for the end of all.
async fn make(world: &World, calls: u32, url: &str, waits: &[u32]) -> Result<Wave, Failure> {
    #[derive(Deserialize)]
    struct Job {
        id: String,
    }
    let client = &world.session.client;
    let start_at = now() + TimeDelta::milliseconds((calls * ACCEPT_MS_EACH + 2_000).into());
    let order = json!({
        "start_at": start_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "call": {"method": "GET", "url": url, "retry": {"waits_secs": waits}},
    });
    let accepting = Instant::now();
    // Starts of one job are made one after the other, so each worker has a job of its own.
    let workers = (0..STARTS).map(|worker| {
        let order = &order;
        async move {
            let job: Job = client.post(client.url("/v1/jobs", &[]), order).await?.read()?;
            for _ in (worker..calls).step_by(STARTS as usize) {
                client.post(client.url("/v1/jobs", &[&job.id, "runs"]), &json!({})).await?;
            }
            Ok::<_, Failure>(())
        }
    });
    futures::future::try_join_all(workers).await?;
    let accepting = accepting.elapsed();
    if now() >= start_at {
        let what = "the runs took too long to be accepted";
        return Err(Failure::local(what, "the machine is busy: use fewer --calls"));
    }
    let wait = (start_at - now()).to_std().unwrap_or_default();
    tokio::time::sleep(wait).await;
    let (before, began) = (world.usage()?, Instant::now());
    let mut slowest = Duration::ZERO;
    loop {
        let asked = Instant::now();
        let is_settled = !world.holds_credits().await?;
        slowest = slowest.max(asked.elapsed());
        if is_settled {
            break;
        }
        if began.elapsed() > LIMIT {
            return Err(Failure::local("the calls did not end", "within 15 minutes"));
        }
        tokio::time::sleep(PERIOD).await;
    }
    let cpu = world.usage()?.cpu.saturating_sub(before.cpu);
    Ok(Wave { accepting, took: began.elapsed(), cpu, slowest })
}

fn now() -> DateTime<Utc> {
    server::clock::now()
}

/// A receiver that accepts everything.
async fn serve(listener: TcpListener) {
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(answer(socket));
    }
}

/// Answers each request of a connection; none has a body.
async fn answer(mut socket: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(4096);
    loop {
        let end = head.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            head.drain(..end + 4);
            socket.write_all(ANSWER).await?;
        } else if socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
}
