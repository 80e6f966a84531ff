//! Looking at a job's run: results and progress. And the templates to make jobs from.

use std::collections::BTreeMap;
use std::time::Duration;

use common::access::Scope;
use common::data::location::{Destination, Provider};
use common::ids::JobId;
use common::money::credits::Credits;
use common::plan::Phase;
use common::run::RunState;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{job_out, jobs, partial, states, why};
use crate::api::bytenite::dev::templates::{TemplateOut, listed};
use crate::api::bytenite::lists::page::Paged;
use crate::api::bytenite::lists::selection::LIST;
use crate::api::bytenite::words;
use crate::api::http::call::{Call, Segment};
use crate::api::http::query;
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::{flag, text, texts};
use crate::app::App;
use crate::data::bucket::blob_key::BlobKey;
use crate::data::bucket::links::{Holder, Linked};
use crate::definitions::{Shelf, templates};
use crate::error::{Error, Result};
use crate::files::holder;
use crate::store;
use crate::store::market::results;
use crate::store::market::runs::RunView;

pub const LINK_LIVES: Duration = Duration::from_secs(48 * 3600);
const RESULTS_MAX: u64 = 10_000;
/// The most bytes of names and links of one answer, or a little more.
pub const RESULTS_BYTES_MAX: usize = 4 << 20;
const LIST_MAX: usize = 1_000;

pub fn routes() -> Vec<Route> {
    vec![
        get("Customer_GetJobTemplates", "/jobs/templates", list_templates)
            .summary("Lists the templates that jobs can be made of")
            .query(LIST),
        get("Customer_GetPresets", "/jobs/templates/{jobTemplateId}/presets", list_presets)
            .summary("Old clients ask for presets: there are none")
            .deprecated(),
        get("Customer_GetJobResults", "/jobs/{jobId}/results", get_results)
            .summary("Lists a finished job's files, with links")
            .query(vec![
                text("after", "The next of the answer before"),
                flag("partial", "Of a job that failed or was aborted: lists what was accepted"),
            ]),
        get("Customer_GetProgress", "/jobs/{jobId}/progress", progress)
            .summary("Counts chunks, tasks and credits"),
        post("Customer_GetRunningTasks", "/jobs/runningTasks", running_tasks)
            .summary("Counts the running tasks of jobs")
            .body(vec![texts("jobsIds", "").required()])
            .needs(Scope::JobsRead),
    ]
}

#[derive(Serialize, ToSchema)]
pub struct ResultsOut {
    pub results: Vec<ResultOut>,
    /// True where the job did not complete: these are its accepted tasks' own results, not folded.
    /// Left out of ordinary results, which published clients compare as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    partial: Option<bool>,
    /// Where there are more: the `after` that asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct ResultOut {
    pub name: String,
    pub link: String,
    pub size: String,
}

impl ResultsOut {
    pub fn partial(results: Vec<ResultOut>, next: Option<String>) -> Self {
        Self { results, partial: Some(true), next }
    }
}

/// The output files: links where Fanfold keeps them, addresses where they were delivered.
async fn get_results(id: Segment, call: Call) -> Result<ResultsOut> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let _place = call.answer_place(&caller).await;
    let app = call.app();
    let job = jobs::find(app, &caller, &id).await?;
    let run = match job_out::run_of(app, &job).await? {
        Some(run) if run.state == RunState::Succeeded => run,
        Some(run) if run.has_ended() => {
            if query::flag(&query, "partial")? != Some(true) {
                return Err(partial::refusal(&run));
            }
            let after = query.get("after").map(String::as_str);
            return partial::results(app, &run, holder(&caller), after).await;
        }
        _ => {
            let text = "job has not yet been completed".to_owned();
            return Err(Error::Blocked("JOB_NOT_COMPLETED", text));
        }
    };
    let after = query.get("after").map(String::as_str);
    results_of(app, &job, &run, holder(&caller), after).await
}

/// The output files of a run that is complete, with links for this holder.
pub async fn results_of(
    app: &App,
    job: &store::jobs::Job,
    run: &RunView,
    holder: Holder,
    after: Option<&str>,
) -> Result<ResultsOut> {
    let found = results::find(&app.db, run.id, after, RESULTS_MAX).await?;
    let (full, n) = (found.len() as u64 == RESULTS_MAX, found.len());
    let place = delivered_to(job);
    let (mut shown, mut bytes) = (Vec::<ResultOut>::with_capacity(n), 0);
    for file in found {
        if bytes > RESULTS_BYTES_MAX {
            break;
        }
        let link = match file.key.as_deref().and_then(BlobKey::from_path) {
            Some(key) => {
                let linked = Linked { name: &file.name, digest: file.digest };
                app.data.download_link(&key, linked, holder, LINK_LIVES)
            }
            None => place.as_ref().map_or_else(String::new, |to| format!("{to}{}", file.name)),
        };
        bytes += file.name.len() + link.len();
        shown.push(ResultOut { name: file.name, link, size: file.size.to_string() });
    }
    let more = full || shown.len() < n;
    let next = shown.last().filter(|_| more).map(|last| last.name.clone());
    Ok(ResultsOut { results: shown, partial: None, next })
}

/// The address of the folder that results were delivered to, ending in a slash.
fn delivered_to(job: &store::jobs::Job) -> Option<String> {
    let Destination::Cloud { bucket, folder } = job.destination()? else { return None };
    let scheme = match bucket.provider {
        Provider::Aws { .. } => "s3",
        Provider::Gcp { .. } => "gs",
        Provider::Storj { .. } => "sj",
        Provider::Azure { .. } => "az",
    };
    let folder = folder.trim_matches('/');
    let slash = if folder.is_empty() { "" } else { "/" };
    Some(format!("{scheme}://{}/{folder}{slash}", bucket.name))
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
    let app = call.app();
    let job = jobs::find(app, &caller, &id).await?;
    let run = job_out::run_of(app, &job).await?;
    let live = run.as_ref().and_then(|run| app.coordinator.progress(run.id));
    let waits = why::message(app, run.as_ref()).await?;
    let stored = |of: fn(&RunView) -> u32| run.as_ref().map_or(0, of);
    Ok(ProgressOut {
        state: states::of_job(run.as_ref()),
        status: states::status(run.as_ref()),
        phase: run.as_ref().and_then(|run| run.phase).map(Phase::as_str),
        held: run.as_ref().map_or(Credits::ZERO, |run| run.held),
        chunks: live.as_ref().map_or(stored(|run| run.chunks.unwrap_or(0)), |live| live.chunks),
        chunks_done: live.as_ref().map_or(stored(|run| run.chunks_done), |live| live.chunks_done),
        tasks_without_results: live
            .as_ref()
            .map_or(stored(|run| run.empty), |live| live.tasks_without_results),
        tasks_running: live.as_ref().map_or(0, |live| live.tasks_running),
        nodes_busy: live.as_ref().map_or(0, |live| live.nodes_busy),
        spent: match (&live, &run) {
            (Some(live), _) => live.spent,
            (None, Some(run)) => run.price,
            (None, None) => Credits::ZERO,
        },
        error: run.and_then(|run| run.error).unwrap_or(waits),
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
    let ids = body.texts("jobsIds", LIST_MAX)?;
    if ids.is_empty() {
        return Err(Error::field("jobsIds", "is missing: a list of job ids"));
    }
    let ids: Vec<JobId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
    let app = call.app();
    let found = store::jobs::find_many(&app.db, caller.workspace, &ids).await?;
    let running: BTreeMap<_, _> = found
        .iter()
        .map(|job| {
            let live = job.run.and_then(|run| app.coordinator.progress(run));
            (job.id.to_string(), live.map_or(0, |live| live.tasks_running))
        })
        .collect();
    Ok(RunningOut { jobs_running_tasks: running })
}

#[derive(Serialize, ToSchema)]
struct PresetsOut {
    #[schema(value_type = Vec<Object>)]
    presets: Vec<Value>,
}

/// Old clients ask for a template's presets; templates have had defaults in their place for long.
async fn list_presets(id: Segment, call: Call) -> Result<PresetsOut> {
    let caller = call.caller().await?;
    templates::find(call.app(), &caller, &id.0).await?;
    Ok(PresetsOut { presets: Vec::new() })
}

async fn list_templates(call: Call) -> Result<Paged<TemplateOut>> {
    let caller = call.caller().await?;
    listed(&call, &caller, Shelf::Usable, &call.query()?).await
}
