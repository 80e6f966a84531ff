//! Runs of a job: triggered, listed, read and cancelled.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::{Method, StatusCode};

use super::envelope::{self, Envelope};
use super::jobs::{JSON, LIMIT, LIMIT_MAX, limit};
use super::run_out::RunOut;
use super::scope::{PATH, Scope};
use crate::api::Answer;
use crate::api::http::call::{BODY_BYTES_MAX, Call};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, raw};
use crate::api::http::shape::{integer, text};
use crate::error::{Error, Kind, Result};
use crate::jobs::monitoring::status::JobStatus;
use crate::jobs::runs::RunPlace;
use crate::jobs::runs::{cancel, start};
use crate::jobs::{RunView, runs};

pub fn routes() -> Vec<Route> {
    let (runs, run) =
        (format!("{PATH}/jobs/{{job}}/runs"), format!("{PATH}/jobs/{{job}}/runs/{{run}}"));
    let cancel = |method: Method, operation: &'static str, path: String| {
        raw(method, operation, path, JSON, cancel_run)
            .gives::<Envelope<String>>()
            .summary("Stops a run that is pending or running")
            .fails(&[(409, "The run has ended")])
    };
    vec![
        raw(Method::GET, "Ejjy_ListRuns", runs.clone(), JSON, list_runs)
            .gives::<Envelope<RunList>>()
            .summary("Lists the runs of a job, the newest first")
            .query(vec![
                integer("limit", "At most this many, 1 to 100; 50 where it is left out"),
                text("cursor", "The next_cursor of the page before"),
            ]),
        raw(Method::POST, "Ejjy_TriggerRun", runs, JSON, trigger)
            .gives::<Envelope<RunOut>>()
            .creates()
            .succeeds_with(202)
            .summary("Starts a run of a job"),
        raw(Method::GET, "Ejjy_GetRun", run.clone(), JSON, read)
            .gives::<Envelope<RunOut>>()
            .summary("Gets a run"),
        cancel(Method::POST, "Ejjy_CancelRun", format!("{run}/cancel")),
        cancel(Method::DELETE, "Ejjy_DeleteRun", run),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = EjjyRunList)]
struct RunList {
    /// The newest first.
    runs: Vec<RunOut>,
    next_cursor: Option<String>,
}

async fn list_runs(mut call: Call) -> Result<Answer> {
    let scope = Scope::of(&mut call).await?;
    let job = scope.job(&mut call).await?.job;
    let query = call.query()?;
    let limit = limit(&query, LIMIT, LIMIT_MAX)?;
    let before = read_cursor(&query)?;
    let (app, _permit) = (call.app(), call.answer_permit(&scope.caller).await);
    let found = runs::list(app, &scope.caller, job.id, before, limit).await?;
    let views: Vec<&RunView> = found.iter().filter_map(|status| status.run.as_ref()).collect();
    let last = views.last().filter(|_| found.len() >= limit as usize);
    let next_cursor = last.map(|run| write_cursor(run.place()));
    let runs = RunOut::all(app, &views, &job.tags).await?;
    envelope::found("List of runs", RunList { runs, next_cursor })
}

async fn trigger(mut call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let key = idempotency::key(&call, &bytes)?;
    call.object(&bytes)?.finish()?;
    let scope = Scope::within(caller, &mut call)?;
    let id = scope.job(&mut call).await?.job.id;
    let app = call.app();
    let ready = start::prepare(app, &scope.caller, id, Default::default()).await?;
    let run = ready.under(app, &scope.caller, key.as_ref()).await?.start(app).await?;
    let started = scope.read_run(app, id, run).await?;
    let run = shown(&call, &started).await?;
    envelope::success(StatusCode::ACCEPTED, "Run triggered", run)
}

async fn read(mut call: Call) -> Result<Answer> {
    let scope = Scope::of(&mut call).await?;
    let found = scope.run(&mut call).await?;
    envelope::found("Run detail", shown(&call, &found).await?)
}

async fn cancel_run(mut call: Call) -> Result<Answer> {
    let scope = Scope::of(&mut call).await?;
    let found = scope.run(&mut call).await?;
    let run = shown(&call, &found).await?;
    let conflict = |status: &str| {
        let why = format!("run is already {status} and cannot be cancelled");
        envelope::refused(StatusCode::CONFLICT, &why)
    };
    if run.status.is_terminal() {
        return conflict(run.status.as_str());
    }
    match cancel::abort(call.app(), &scope.caller, run.id).await {
        Ok(_) => envelope::found("Cancelled", run.id.to_string()),
        // It has ended meanwhile, or is being stopped.
        Err(refused) if refused.kind() == Kind::FailedPrecondition => conflict("ending"),
        Err(refused) => Err(refused),
    }
}

async fn shown(call: &Call, of: &JobStatus) -> Result<RunOut> {
    let run = of.run.as_ref().ok_or_else(|| Error::not_found("run", ""))?;
    RunOut::one(call.app(), run, &of.job.tags).await
}

fn write_cursor(RunPlace { started_at, run }: RunPlace) -> String {
    format!("{}_{run}", started_at.timestamp_micros())
}

fn read_cursor(query: &BTreeMap<String, String>) -> Result<Option<RunPlace>> {
    let Some(text) = query.get("cursor") else { return Ok(None) };
    let place = text.split_once('_').and_then(|(micros, run)| {
        let started_at = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
        Some(RunPlace { started_at, run: run.parse().ok()? })
    });
    let wrong = || Error::field("cursor", "must be the next_cursor of the page before");
    place.map(Some).ok_or_else(wrong)
}
