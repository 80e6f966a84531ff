//! What the containers of a job wrote, and what they used.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use common::ids::RunId;
use common::protocol::Stream;
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::Method;

use super::envelope::{self, Envelope, JSON};
use super::jobs::find;
use crate::api::Answer;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, raw};
use crate::api::http::shape::{Field, date, integer};
use crate::clock;
use crate::error::{Error, Result};
use crate::jobs::history::lines::{self, LineQuery};
use crate::jobs::history::series;
use crate::jobs::history::{WINDOW_MAX, Whose, Window};

const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 5_000;

const WINDOW: [Field; 2] = [
    date("start", "The beginning of the window of time; seven days before its end if left out"),
    date("end", "The end of the window; now where it is left out"),
];

pub fn routes() -> Vec<Route> {
    let limit = integer("limit", "The newest so many lines, 1 to 5000; 100 where it is left out");
    let (logs, metrics) = ("/v1/client/job/{job}/logs", "/v1/client/job/{job}/metrics");
    vec![
        raw(Method::GET, "Daestro_GetJobLogs", logs, JSON, read_logs)
            .gives::<Envelope<Logs>>()
            .summary("Gets the log lines of the runs of a job in a window of time")
            .query([&WINDOW[..], &[limit]].concat()),
        raw(Method::GET, "Daestro_GetJobMetrics", metrics, JSON, read_metrics)
            .gives::<Envelope<Metrics>>()
            .summary("Gets what the runs of a job used in a window of time")
            .query(WINDOW.to_vec()),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = DaestroLogs)]
struct Logs {
    /// The oldest first.
    lines: Vec<LineOut>,
    /// There are older lines.
    truncated: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DaestroLogLine)]
struct LineOut {
    timestamp: DateTime<Utc>,
    /// The run that wrote it.
    #[schema(value_type = String)]
    run_id: RunId,
    /// `stdout`, or `stderr`.
    stream: &'static str,
    message: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DaestroMetrics)]
struct Metrics {
    /// The oldest first.
    points: Vec<PointOut>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DaestroMetricPoint)]
struct PointOut {
    timestamp: DateTime<Utc>,
    /// Thousandths of a vCPU.
    cpu_millis: u64,
    /// Bytes of memory.
    memory_bytes: u64,
}

async fn read_logs(job: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let limit = match query.get("limit") {
        None => LIMIT,
        Some(text) => {
            let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
            limit.ok_or_else(|| Error::field("limit", format!("must be from 1 to {LIMIT_MAX}")))?
        }
    };
    let asked = LineQuery {
        window: window(&query)?,
        contains: None,
        level: None,
        only_containers: true,
        limit: limit as usize,
        before: None,
    };
    let (app, _permit) = (call.app(), call.answer_permit(&caller).await);
    let id = find(app, &caller, &job).await?.job.id;
    let found = lines::read(app, &caller, Whose::Job(id), &asked).await?;
    let lines = found.lines.into_iter().map(|line| LineOut {
        timestamp: line.at,
        run_id: line.lease.task.run,
        stream: if line.stream == Stream::Err { "stderr" } else { "stdout" },
        message: line.text,
    });
    envelope::found(Logs { lines: lines.collect(), truncated: found.is_cut })
}

async fn read_metrics(job: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let window = window(&call.query()?)?;
    let (app, _permit) = (call.app(), call.answer_permit(&caller).await);
    let id = find(app, &caller, &job).await?.job.id;
    let points = series::read(app, &caller, Whose::Job(id), window).await?;
    let points = points.into_iter().map(|point| PointOut {
        timestamp: point.at,
        cpu_millis: point.cpu_millis,
        memory_bytes: point.memory_bytes,
    });
    envelope::found(Metrics { points: points.collect() })
}

fn window(query: &BTreeMap<String, String>) -> Result<Window> {
    let end = time(query, "end")?.unwrap_or_else(|| clock::now() + TimeDelta::seconds(1));
    Window::new(time(query, "start")?.unwrap_or(end - WINDOW_MAX), end)
}

fn time(query: &BTreeMap<String, String>, name: &str) -> Result<Option<DateTime<Utc>>> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let time = DateTime::parse_from_rfc3339(text).map(|time| Some(time.to_utc()));
    time.map_err(|_| Error::field(name, "must be a time such as 2026-04-22T15:30:00Z"))
}
