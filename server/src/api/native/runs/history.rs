//! What the runs of a job wrote and used, by time.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use common::ids::RunId;
use serde::Serialize;
use utoipa::ToSchema;

use super::logs::{LEVELS, read_level};
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get};
use crate::api::http::shape::{Field, date, integer, text, word};
use crate::api::native::page::{CURSOR, cursor};
use crate::api::native::words::{LevelOut, StreamOut};
use crate::clock;
use crate::error::{Error, Result};
use crate::jobs::history::lines::{self, Line, LineQuery};
use crate::jobs::history::series::{self, Point};
use crate::jobs::history::{Whose, Window};
use crate::people::caller::Caller;

const LIMIT: usize = 1_000;
const LIMIT_MAX: usize = 5_000;
/// The window where none is given.
const WINDOW: TimeDelta = TimeDelta::hours(1);

const TIMES: [Field; 2] = [
    date("start", "The beginning of the window; an hour before its end where it is left out"),
    date("end", "The end of the window, at most seven days later; now where it is left out"),
];

pub fn routes() -> Vec<Route> {
    let lines = [
        text("contains", "Only lines with this text in them, in the same case"),
        integer("limit", "The newest so many, 1 to 5000; 1000 where it is left out"),
        word("level", &LEVELS, "Of this level; all where it is left out"),
        CURSOR,
    ];
    vec![
        get("Fanfold_GetJobLines", "/jobs/{job}/lines", job_lines)
            .summary("Gets the log lines of all runs of a job in a window of time")
            .query([&TIMES[..], &lines].concat()),
        get("Fanfold_GetRunLines", "/runs/{run}/lines", run_lines)
            .summary("Gets the log lines of a run in a window of time")
            .query([&TIMES[..], &lines].concat()),
        get("Fanfold_GetJobUsage", "/jobs/{job}/usage", job_usage)
            .summary("Gets what all runs of a job used in a window of time, every 15 seconds")
            .query(TIMES.to_vec()),
        get("Fanfold_GetRunUsage", "/runs/{run}/usage", run_usage)
            .summary("Gets what a run used in a window of time, every 15 seconds")
            .query(TIMES.to_vec()),
    ]
}

#[derive(Serialize, ToSchema)]
struct LinesOut {
    /// The oldest first.
    lines: Vec<LineOut>,
    /// There are older lines, or more than one answer looks through.
    is_cut: bool,
    /// Where there may be older ones: the `cursor` that asks for them.
    next_cursor: Option<String>,
}

/// A line of a run's log.
#[derive(Serialize, ToSchema)]
#[schema(as = RunLine)]
struct LineOut {
    #[schema(value_type = String)]
    run: RunId,
    /// The task's place in its stage, from 0.
    index: u32,
    attempt: u32,
    /// When it was written, by its node's clock.
    at: DateTime<Utc>,
    level: LevelOut,
    /// Where the container wrote it.
    stream: StreamOut,
    /// The line without its end.
    text: String,
}

#[derive(Serialize, ToSchema)]
struct UsageOut {
    /// The periods in which something ran, the oldest first.
    points: Vec<PointOut>,
}

/// What was used in a period of 15 seconds by all attempts that ran in it.
#[derive(Serialize, ToSchema)]
#[schema(as = UsagePoint)]
struct PointOut {
    /// The end of the period.
    at: DateTime<Utc>,
    /// Thousandths of a vCPU: the mean over the attempts.
    cpu_millis: u64,
    /// The sum over the attempts.
    memory_bytes: u64,
}

async fn job_lines(job: Segment, call: Call) -> Result<LinesOut> {
    let caller = call.caller().await?;
    read_lines(Whose::Job(job.id("job")?), &caller, &call).await
}

async fn run_lines(run: Segment, call: Call) -> Result<LinesOut> {
    let caller = call.caller().await?;
    read_lines(Whose::Run(run.id("run")?), &caller, &call).await
}

async fn job_usage(job: Segment, call: Call) -> Result<UsageOut> {
    let caller = call.caller().await?;
    read_usage(Whose::Job(job.id("job")?), &caller, &call).await
}

async fn run_usage(run: Segment, call: Call) -> Result<UsageOut> {
    let caller = call.caller().await?;
    read_usage(Whose::Run(run.id("run")?), &caller, &call).await
}

async fn read_lines(whose: Whose, caller: &Caller, call: &Call) -> Result<LinesOut> {
    let query = call.query()?;
    let asked = LineQuery {
        window: read_window(&query)?,
        contains: query.get("contains").cloned(),
        level: read_level(&query)?,
        only_containers: false,
        limit: read_limit(&query)?,
        before: cursor(&query)?,
    };
    let _permit = call.answer_permit(caller).await;
    let found = lines::read(call.app(), caller, whose, &asked).await?;
    let lines = found.lines.into_iter().map(LineOut::from).collect();
    let next_cursor = found.next.map(|place| place.to_string());
    Ok(LinesOut { lines, is_cut: found.is_cut, next_cursor })
}

async fn read_usage(whose: Whose, caller: &Caller, call: &Call) -> Result<UsageOut> {
    let window = read_window(&call.query()?)?;
    let _permit = call.answer_permit(caller).await;
    let points = series::read(call.app(), caller, whose, window).await?;
    Ok(UsageOut { points: points.into_iter().map(PointOut::from).collect() })
}

fn read_window(query: &BTreeMap<String, String>) -> Result<Window> {
    let time = |name: &str| -> Result<Option<DateTime<Utc>>> {
        let Some(text) = query.get(name) else { return Ok(None) };
        let time = DateTime::parse_from_rfc3339(text).map(|time| Some(time.to_utc()));
        time.map_err(|_| Error::field(name, "must be a time such as 2027-01-31T12:00:00Z"))
    };
    let until = time("end")?.unwrap_or_else(clock::now);
    Window::new(time("start")?.unwrap_or(until - WINDOW), until)
}

fn read_limit(query: &BTreeMap<String, String>) -> Result<usize> {
    let Some(text) = query.get("limit") else { return Ok(LIMIT) };
    let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    let problem = || format!("must be a whole number from 1 to {LIMIT_MAX}");
    limit.ok_or_else(|| Error::field("limit", problem()))
}

impl From<Line> for LineOut {
    fn from(Line { lease, at, level, stream, text }: Line) -> Self {
        let (task, attempt) = (lease.task, lease.attempt);
        let (level, stream) = (level.into(), stream.into());
        Self { run: task.run, index: task.index, attempt, at, level, stream, text }
    }
}

impl From<Point> for PointOut {
    fn from(Point { at, cpu_millis, memory_bytes }: Point) -> Self {
        Self { at, cpu_millis, memory_bytes }
    }
}
