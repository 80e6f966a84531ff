//! How far a job is, in numbers.

use std::collections::BTreeMap;

use common::access::Scope;
use common::ids::JobId;
use common::money::credits::Credits;
use common::plan::Phase;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::bytenite::customer::states;
use crate::api::bytenite::words;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::texts;
use crate::error::{Error, Result};
use crate::jobs::monitoring::status;
use crate::jobs::monitoring::status::COUNTED_MAX;

pub fn routes() -> Vec<Route> {
    vec![
        get("Customer_GetProgress", "/jobs/{jobId}/progress", progress)
            .summary("Gets the counts of a job's chunks, tasks and credits"),
        post("Customer_GetRunningTasks", "/jobs/runningTasks", running_tasks)
            .summary("Counts the running tasks of jobs")
            .body(vec![texts("jobsIds", "").required()])
            .needs(Scope::JobsRead),
    ]
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProgressOut {
    #[schema(value_type = words::JobState)]
    state: &'static str,
    #[schema(value_type = words::JobStatus)]
    status: &'static str,
    /// The part of a template's run that is under way: fetch, partition, process, assemble or
    /// deliver.
    #[schema(value_type = Option<words::RunPhase>)]
    phase: Option<&'static str>,
    chunks: u32,
    chunks_done: u32,
    /// Tasks that were accepted and gave no results.
    tasks_without_results: u32,
    tasks_running: u32,
    nodes_busy: u32,
    /// A decimal with eight places, as a text.
    #[schema(value_type = String)]
    spent: Credits,
    /// What is reserved for it now.
    #[schema(value_type = String)]
    held: Credits,
    /// Why it failed, or why it waits.
    error: String,
}

async fn progress(id: Segment, call: Call) -> Result<ProgressOut> {
    let caller = call.caller().await?;
    let progress = status::progress(call.app(), &caller, id.id::<JobId>("job")?).await?;
    Ok(ProgressOut {
        state: states::of(progress.state),
        status: states::status(progress.state),
        phase: progress.state.phase.map(Phase::as_str),
        chunks: progress.chunks,
        chunks_done: progress.chunks_done,
        tasks_without_results: progress.tasks_without_results,
        tasks_running: progress.tasks_running,
        nodes_busy: progress.nodes_busy,
        spent: progress.spent,
        held: progress.held,
        error: progress.message,
    })
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RunningOut {
    /// By the job's id.
    jobs_running_tasks: BTreeMap<String, u32>,
}

/// How many tasks of each job are running. A job that is not the caller's own is left out.
async fn running_tasks(mut call: Call) -> Result<RunningOut> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let ids = body.texts("jobsIds", COUNTED_MAX)?;
    if ids.is_empty() {
        return Err(Error::field("jobsIds", "is missing: a list of job ids"));
    }
    let ids: Vec<JobId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
    let running = status::running_tasks(call.app(), &caller, &ids).await?;
    let running = running.into_iter().map(|(job, tasks)| (job.to_string(), tasks));
    Ok(RunningOut { jobs_running_tasks: running.collect() })
}
