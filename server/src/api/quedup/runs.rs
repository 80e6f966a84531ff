//! Runs of a job: started, listed and read.

use common::package::config::JobConfig;
use serde::Serialize;
use utoipa::ToSchema;

use super::ids;
use super::jobs::{id, limit};
use super::render::RunOut;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::{integer, text};
use crate::error::{Error, Result};
use crate::jobs::RunView;
use crate::jobs::monitoring::{call_attempts, status};
use crate::jobs::runs::start;
use crate::jobs::runs::{self, RunPlace};
use crate::people::caller::Caller;

pub fn routes() -> Vec<Route> {
    vec![
        post("QuedUp_RunJob", "/jobs/{job}/run", run_now).summary("Runs a job now"),
        get("QuedUp_ListRuns", "/jobs/{job}/runs", list)
            .summary("Lists the runs of a job, the newest first")
            .query(vec![
                integer("limit", "At most 100; 50 where it is left out"),
                text("cursor", "next_cursor of the page before"),
            ]),
        get("QuedUp_GetRun", "/jobs/{job}/runs/{run}", read)
            .summary("Gets a run with its attempts"),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = QuedUpRunList)]
struct RunList {
    /// The newest first.
    runs: Vec<RunOut>,
    next_cursor: Option<String>,
}

async fn run_now(job: Segment, call: Call) -> Result<RunOut> {
    let caller = call.caller().await?;
    let (app, id) = (call.app(), id(&job)?);
    start::prepare(app, &caller, id, JobConfig::default()).await?.start(app).await?;
    let started = status::read(app, &caller, id).await?;
    let run = started.run.as_ref().ok_or_else(|| Error::not_found("run of", job.as_str()))?;
    shown(&call, &caller, run).await
}

async fn list(job: Segment, call: Call) -> Result<RunList> {
    let caller = call.caller().await?;
    let (id, query) = (id(&job)?, call.query()?);
    let limit = limit(&query)?;
    let before = query.get("cursor").map(|text| place(text));
    let before = before.transpose()?;
    let _permit = call.answer_permit(&caller).await;
    let found = runs::list(call.app(), &caller, id, before, limit).await?;
    let found: Vec<RunView> = found.into_iter().filter_map(|status| status.run).collect();
    let is_full = found.len() == limit as usize;
    let next_cursor = found.last().filter(|_| is_full).map(|run| cursor(run.place()));
    let mut shown = Vec::with_capacity(found.len());
    for run in &found {
        shown.push(self::shown(&call, &caller, run).await?);
    }
    Ok(RunList { runs: shown, next_cursor })
}

async fn read(job: Segment, run: Segment, call: Call) -> Result<RunOut> {
    let caller = call.caller().await?;
    let job = id(&job)?;
    let missing = || Error::not_found("run", run.as_str());
    let id = ids::read_run(run.as_str()).ok_or_else(missing)?;
    let found = status::read(call.app(), &caller, id).await?;
    let found = found.run.filter(|run| run.job == job).ok_or_else(missing)?;
    shown(&call, &caller, &found).await
}

async fn shown(call: &Call, caller: &Caller, run: &RunView) -> Result<RunOut> {
    let limit = call_attempts::LIST_MAX;
    let attempts = call_attempts::list(call.app(), caller, run.id, None, limit).await?;
    Ok(RunOut::of(run, attempts))
}

/// Where a page ended: when its last run was accepted, and its id.
fn cursor(RunPlace { started_at, run }: RunPlace) -> String {
    format!("{}_{}", started_at.timestamp_micros(), ids::run(run))
}

fn place(text: &str) -> Result<RunPlace> {
    let read = || {
        let (micros, run) = text.split_once('_')?;
        let started_at = chrono::DateTime::from_timestamp_micros(micros.parse().ok()?)?;
        Some(RunPlace { started_at, run: ids::read_run(run)? })
    };
    read().ok_or_else(|| Error::field("cursor", "is no next_cursor of a list"))
}
