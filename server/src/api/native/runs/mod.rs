//! Runs: started, listed, read, cancelled and explained.

mod call_attempts;
pub(super) mod cause;
mod events;
mod history;
mod log_download;
mod logs;
pub(super) mod results;
mod run_out;
mod stages;
mod tasks;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use chrono::DateTime;
use common::ids::{JobId, RunId};
use common::run::scheduling::TEST_CHUNKS;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use self::run_out::RunOut;
use super::page::{self, PAGE};
use super::words::StateOut;
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::{Field, flag, integer, one};
use crate::api::native::jobs::config::{self, CONFIG};
use crate::api::native::jobs::quote::QuoteOut;
use crate::error::{Error, Result};
use crate::jobs::RunView;
use crate::jobs::monitoring::explain::{self, Why};
use crate::jobs::monitoring::status::{self, JobState, JobStatus};
use crate::jobs::monitoring::wait;
use crate::jobs::runs::cancel;
use crate::jobs::runs::retry;
use crate::jobs::runs::start::{self, Remark};
use crate::jobs::runs::{self, RunPlace};
use crate::people::caller::Caller;

const WAIT_MAX: Duration = Duration::from_secs(60);

pub fn routes() -> Vec<Route> {
    let own = vec![
        post("Fanfold_StartRun", "/jobs/{job}/runs", start_run)
            .summary("Starts a run of a job; as a dry run, only checks and estimates it")
            .body(START)
            .fails(&[(409, "The job has been started")]),
        get("Fanfold_ListRuns", "/jobs/{job}/runs", list_runs)
            .summary("Lists the runs of a job, the newest first")
            .query(PAGE.to_vec()),
        get("Fanfold_GetRun", "/runs/{run}", read)
            .summary("Gets a run; wait answers when it has ended")
            .query(vec![integer("wait", "Seconds to wait for its end, at most 60")]),
        post("Fanfold_CancelRun", "/runs/{run}/cancel", cancel_run).summary("Cancels a run"),
        post("Fanfold_DeliverRun", "/runs/{run}/deliver", deliver_run).summary(
            "Delivers the results of a run that failed after its last task again, at no cost",
        ),
        post("Fanfold_RetryRun", "/runs/{run}/retry", retry_run).summary(
            "Goes on with a run that failed or was cancelled: only what is not done is done",
        ),
        post("Fanfold_RetryJob", "/jobs/{job}/retry", retry_job)
            .summary("Goes on with the latest run of a job, as far as it is not done"),
        get("Fanfold_ListCallbacks", "/runs/{run}/callbacks", list_callbacks)
            .summary("Lists the runs that tell how a run has ended; each is one call"),
        get("Fanfold_ExplainRun", "/runs/{run}/explain", explain_run)
            .summary("Explains what a run waits for"),
    ];
    let parts = [
        own,
        stages::routes(),
        tasks::routes(),
        call_attempts::routes(),
        log_download::routes(),
        logs::routes(),
        history::routes(),
        events::routes(),
        results::routes(),
    ];
    parts.into_iter().flatten().collect()
}

const START: &[Field] = &[
    one("config", &CONFIG, "Laid over the job's own"),
    flag("dry_run", "Checks everything and gives the quote, but starts nothing"),
];

/// What was started, or would be.
#[derive(Serialize, ToSchema)]
struct StartedRun {
    /// Null for a dry run.
    run: Option<RunOut>,
    /// Of a dry run.
    quote: Option<QuoteOut>,
    /// What is right, but may not be what the caller had in mind.
    remarks: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct RunList {
    /// The newest first.
    runs: Vec<RunOut>,
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct CallbackList {
    /// In the order in which the ends were told.
    runs: Vec<RunOut>,
}

/// Why a run waits, or what it does.
#[derive(Serialize, ToSchema)]
struct RunExplained {
    #[schema(value_type = String)]
    run: RunId,
    state: StateOut,
    /// Whether it waits for a node, for its start, or for a place among the server's steps.
    waiting: bool,
    /// The nodes that were looked at.
    nodes: Option<usize>,
    reasons: Vec<String>,
}

async fn start_run(job: Segment, mut call: Call) -> Result<StartedRun> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let over = config::read(&mut body)?.unwrap_or_default();
    let is_dry = body.flag("dry_run")?.unwrap_or(false);
    body.finish()?;
    let (app, id) = (call.app(), job.id::<JobId>("job")?);
    let key = idempotency::key(&call, &bytes)?;
    let ready = start::prepare(app, &caller, id, over).await?;
    let remarks = ready.remarks().iter().map(remark).collect();
    if is_dry {
        let quote = ready.quote(app, &caller).await?;
        return Ok(StartedRun { run: None, quote: Some(quote.into()), remarks });
    }
    let run = ready.under(app, &caller, key.as_ref()).await?.start(app).await?;
    let started = status::read(app, &caller, run).await?;
    Ok(StartedRun { run: RunOut::of(&started), quote: None, remarks })
}

fn remark(remark: &Remark) -> String {
    match remark {
        Remark::TestJob => {
            format!("this is a test job: it works on the first {TEST_CHUNKS} chunks only")
        }
        Remark::IgnoredParam { phase, param } => {
            format!("the built-in of the phase {} has no param {param}", phase.as_str())
        }
    }
}

async fn list_runs(job: Segment, call: Call) -> Result<RunList> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let limit = page::limit(&query)?;
    let before = page::cursor(&query)?.map(|RunCursor(place)| place);
    let _permit = call.answer_permit(&caller).await;
    let found = runs::list(call.app(), &caller, job.id::<JobId>("job")?, before, limit).await?;
    let place = |run: &JobStatus| run.run.as_ref().map(RunView::place);
    let cursor = |run: &JobStatus| place(run).map_or_else(String::new, write_cursor);
    let next_cursor = page::next(&found, limit, cursor);
    Ok(RunList { runs: found.iter().filter_map(RunOut::of).collect(), next_cursor })
}

async fn list_callbacks(run: Segment, call: Call) -> Result<CallbackList> {
    let caller = call.caller().await?;
    let found = runs::callbacks_of(call.app(), &caller, run.id::<RunId>("run")?).await?;
    Ok(CallbackList { runs: found.iter().filter_map(RunOut::of).collect() })
}

/// Where a page of runs ended: when the last one was accepted, in microseconds, and its id.
struct RunCursor(RunPlace);

impl FromStr for RunCursor {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let (micros, run) = text.split_once('_').ok_or(())?;
        let micros = micros.parse().map_err(|_| ())?;
        let started_at = DateTime::from_timestamp_micros(micros).ok_or(())?;
        Ok(Self(RunPlace { started_at, run: run.parse().map_err(|_| ())? }))
    }
}

fn write_cursor(RunPlace { started_at, run }: RunPlace) -> String {
    format!("{}_{run}", started_at.timestamp_micros())
}

async fn read(run: Segment, call: Call) -> Result<RunOut> {
    let caller = call.caller().await?;
    let wait = read_wait(&call.query()?)?;
    let id = run.id::<RunId>("run")?;
    if !wait.is_zero() {
        let (state, until) = (call.state(), Instant::now() + wait);
        let _permit = state.permits.waits.try_take(caller.workspace)?;
        tokio::select! {
            () = state.stop.cancelled() => return Err(Error::Unavailable),
            waited = wait::wait(call.app(), &caller, id, JobState::has_ended, until) => {
                waited?;
            }
        }
    }
    shown(&call, &caller, id).await
}

fn read_wait(query: &BTreeMap<String, String>) -> Result<Duration> {
    let Some(text) = query.get("wait") else { return Ok(Duration::ZERO) };
    let wait = text.parse().map(Duration::from_secs).ok().filter(|wait| *wait <= WAIT_MAX);
    let problem = || format!("must be seconds, at most {}", WAIT_MAX.as_secs());
    wait.ok_or_else(|| Error::field("wait", problem()))
}

async fn cancel_run(run: Segment, call: Call) -> Result<RunOut> {
    let caller = call.caller().await?;
    let id = run.id::<RunId>("run")?;
    cancel::abort(call.app(), &caller, id).await?;
    shown(&call, &caller, id).await
}

async fn deliver_run(run: Segment, call: Call) -> Result<RunOut> {
    let caller = call.caller().await?;
    let id = run.id::<RunId>("run")?;
    cancel::deliver_again(call.app(), &caller, id).await?;
    shown(&call, &caller, id).await
}

async fn retry_run(run: Segment, call: Call) -> Result<RunOut> {
    let caller = call.caller().await?;
    let id = run.id::<RunId>("run")?;
    retry::retry(call.app(), &caller, id).await?;
    shown(&call, &caller, id).await
}

async fn retry_job(job: Segment, call: Call) -> Result<RunOut> {
    let caller = call.caller().await?;
    let id = job.id::<JobId>("job")?;
    retry::retry(call.app(), &caller, id).await?;
    let status = status::read(call.app(), &caller, id).await?;
    RunOut::of(&status).ok_or_else(|| Error::not_found("run", &id.to_string()))
}

async fn explain_run(run: Segment, call: Call) -> Result<RunExplained> {
    let caller = call.caller().await?;
    let id = run.id::<RunId>("run")?;
    let (state, why) = explain::explain(call.app(), &caller, id).await?;
    let Why { waiting, nodes, reasons } = why;
    Ok(RunExplained { run: id, state: state.into(), waiting, nodes, reasons })
}

async fn shown(call: &Call, caller: &Caller, id: RunId) -> Result<RunOut> {
    let status = status::read(call.app(), caller, id).await?;
    RunOut::of(&status).ok_or_else(|| Error::not_found("run", &id.to_string()))
}
