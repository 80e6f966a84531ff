//! How a job stands: its latest run, how many there are of each status, and when the next is due.

use chrono::{DateTime, Utc};
use common::run::RunState;
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::Method;

use super::envelope::{self, Envelope};
use super::jobs::JSON;
use super::run_out::RunOut;
use super::schedule::cron_of;
use super::scope::{PATH, Scope};
use super::words::Status;
use crate::api::Answer;
use crate::api::http::call::Call;
use crate::api::http::route::{Route, raw};
use crate::error::Result;
use crate::jobs::{containers, schedules};

pub fn routes() -> Vec<Route> {
    vec![
        raw(Method::GET, "Ejjy_GetJobStatus", format!("{PATH}/jobs/{{job}}/status"), JSON, read)
            .gives::<Envelope<StatusOut>>()
            .summary("Gets the latest run of a job, counts of its runs, and when the next is due"),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = EjjyJobStatus)]
struct StatusOut {
    last_run: Option<RunOut>,
    counts: Counts,
    /// The cron expression; only of a job that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<String>,
    /// When the next run is due; only of a job with a schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_run_at: Option<DateTime<Utc>>,
}

/// How many runs have each status.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = EjjyCounts)]
struct Counts {
    /// Runs whose container has not begun.
    pending: u64,
    /// Runs whose container runs.
    running: u64,
    /// Runs that ended with exit code 0.
    succeeded: u64,
    /// Runs that failed.
    failed: u64,
    /// Runs that were cancelled.
    cancelled: u64,
    /// All of them.
    total: u64,
}

async fn read(mut call: Call) -> Result<Answer> {
    let scope = Scope::of(&mut call).await?;
    let found = scope.job(&mut call).await?;
    let (app, job) = (call.app(), &found.job);
    let mut counts = Counts::default();
    let counted = containers::count_runs(app, &scope.caller, job.id).await?;
    for (state, runs) in counted.by_state {
        // Those that have not ended are told apart by what their containers do.
        match state {
            RunState::Succeeded => counts.succeeded += runs,
            RunState::Failed => counts.failed += runs,
            RunState::Cancelled => counts.cancelled += runs,
            RunState::Scheduled | RunState::Accepted | RunState::Running | RunState::Ending => {}
        }
        counts.total += runs;
    }
    for (run, main) in &counted.unfinished {
        match Status::of(run, *main) {
            Status::Pending => counts.pending += 1,
            Status::Running => counts.running += 1,
            Status::Succeeded | Status::Failed | Status::Cancelled => {}
        }
    }
    let last_run = match &found.run {
        Some(run) => Some(RunOut::one(app, run, &job.tags).await?),
        None => None,
    };
    let schedule = schedules::of_job(app, job.id).await?;
    let cron = schedule.as_ref().and_then(cron_of).map(|cron| cron.text().to_owned());
    let next_run_at = schedule.and_then(|schedule| schedule.next).filter(|_| cron.is_some());
    envelope::found("Status", StatusOut { last_run, counts, schedule: cron, next_run_at })
}
