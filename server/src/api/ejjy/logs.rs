//! What the containers of a job's runs wrote.

use chrono::{DateTime, Utc};
use common::ids::RunId;
use common::protocol::Stream;
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::Method;

use super::envelope::{self, Envelope};
use super::jobs::{JSON, limit};
use super::scope::{PATH, Scope};
use super::window;
use crate::api::Answer;
use crate::api::http::call::Call;
use crate::api::http::route::{Route, raw};
use crate::api::http::shape::{Field, integer, text};
use crate::error::{Error, Result};
use crate::jobs::history::Whose;
use crate::jobs::history::lines::{self, Line, LineQuery, Place};

const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 5_000;

pub fn routes() -> Vec<Route> {
    let lines: [Field; 3] = [
        integer("limit", "The newest so many lines, 1 to 5000; 100 where it is left out"),
        text("filter", "Only lines with this text in them, in the same case"),
        text("cursor", "The next_cursor of the page before: lines that are older than those on it"),
    ];
    let query = [&window::FIELDS[..], &lines].concat();
    vec![
        raw(Method::GET, "Ejjy_GetJobLogs", format!("{PATH}/jobs/{{job}}/logs"), JSON, of_job)
            .gives::<Envelope<Logs>>()
            .summary("Gets the log lines of all runs of a job in a window of time")
            .query(query.clone()),
        raw(
            Method::GET,
            "Ejjy_GetRunLogs",
            format!("{PATH}/jobs/{{job}}/runs/{{run}}/logs"),
            JSON,
            of_run,
        )
        .gives::<Envelope<Logs>>()
        .summary("Gets the log lines of a run in a window of time")
        .query(query),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = EjjyLogs)]
struct Logs {
    /// The oldest first.
    lines: Vec<LineOut>,
    /// There are older lines, or more than one answer looks through.
    truncated: bool,
    /// Where there may be older lines: the `cursor` that asks for them.
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = EjjyLine)]
struct LineOut {
    timestamp: DateTime<Utc>,
    /// The run that wrote it.
    #[schema(value_type = String)]
    run_id: RunId,
    /// The number of the instance, from 0.
    instance: String,
    /// `stdout`, or `stderr`.
    stream: &'static str,
    /// The line without its end.
    message: String,
}

async fn of_job(mut call: Call) -> Result<Answer> {
    let scope = Scope::of(&mut call).await?;
    let job = scope.job(&mut call).await?.job.id;
    read("Logs", Whose::Job(job), &scope, &call).await
}

async fn of_run(mut call: Call) -> Result<Answer> {
    let scope = Scope::of(&mut call).await?;
    let job = scope.job(&mut call).await?.job.id;
    let run = call.segment().id::<RunId>("run")?;
    scope.read_run(call.app(), job, run).await?;
    read("Run logs", Whose::Run(run), &scope, &call).await
}

async fn read(message: &'static str, whose: Whose, scope: &Scope, call: &Call) -> Result<Answer> {
    let query = call.query()?;
    let asked = LineQuery {
        window: window::read(&query)?,
        contains: query.get("filter").cloned(),
        level: None,
        only_containers: true,
        limit: limit(&query, LIMIT, LIMIT_MAX)? as usize,
        before: query.get("cursor").map(|text| read_cursor(text)).transpose()?,
    };
    let _permit = call.answer_permit(&scope.caller).await;
    let found = lines::read(call.app(), &scope.caller, whose, &asked).await?;
    let lines = found.lines.into_iter().map(LineOut::from).collect();
    let next_cursor = found.next.map(|place| place.to_string());
    envelope::found(message, Logs { lines, truncated: found.is_cut, next_cursor })
}

fn read_cursor(text: &str) -> Result<Place> {
    text.parse().map_err(|_| Error::field("cursor", "must be the next_cursor of the page before"))
}

impl From<Line> for LineOut {
    fn from(Line { lease, at, stream, text, .. }: Line) -> Self {
        Self {
            timestamp: at,
            run_id: lease.task.run,
            instance: lease.task.index.to_string(),
            stream: if stream == Stream::Err { "stderr" } else { "stdout" },
            message: text,
        }
    }
}
