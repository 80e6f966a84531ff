//! A job as it is shown, with its run where it has one.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::data::location::{Destination, Source};
use common::ids::{JobId, WorkspaceId};
use common::money::credits::Credits;
use common::money::price;
use common::package::template::{PhaseParams, Template};
use common::plan::Phase;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::hold::HoldOut;
use super::quote::Forecast;
use super::{states, why};
use crate::api::bytenite::descriptor::{destination_out, source_out};
use crate::api::bytenite::wallet::Amount;
use crate::api::bytenite::work::ConfigOut;
use crate::api::bytenite::{names, words};
use crate::app::App;
use crate::data::bucket::blob_key::BlobKey;
use crate::error::Result;
use crate::store::jobs::Job;
use crate::store::market::runs;
use crate::store::market::runs::RunView;

const UPLOAD_LIVES: Duration = Duration::from_secs(48 * 3600);

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobAnswer {
    job: JobOut,
    template_info: TemplateInfo,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobOut {
    #[schema(value_type = String)]
    id: JobId,
    template_id: String,
    template_info: TemplateInfo,
    /// Empty where the tag named nothing when the job was made.
    app_id: String,
    name: String,
    description: String,
    config: ConfigOut,
    #[schema(value_type = words::ExecutionPriority)]
    priority: &'static str,
    start_at: Option<DateTime<Utc>>,
    submitted_at: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    /// The same as `endedAt`, for clients of 2023.
    completed_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    deleted_at: Option<DateTime<Utc>>,
    #[schema(value_type = Object)]
    regions: Value,
    tags: Vec<String>,
    #[schema(value_type = words::JobState)]
    state: &'static str,
    #[schema(value_type = words::JobStatus)]
    status: &'static str,
    /// The part of a template's run that is under way: fetch, partition, process, assemble or
    /// deliver.
    #[schema(value_type = Option<words::RunPhase>)]
    phase: Option<&'static str>,
    state_timestamps: BTreeMap<&'static str, DateTime<Utc>>,
    #[schema(value_type = Option<Object>)]
    data_source: Option<Value>,
    /// The temporary bucket where the job and its template name none.
    #[schema(value_type = Object)]
    data_destination: Value,
    #[schema(value_type = Object)]
    params: PhaseParams,
    #[schema(value_type = f64)]
    duration: Seconds,
    #[schema(value_type = f64)]
    payment_amount: Amount,
    /// What the whole run is expected to cost, by its tasks that are done or, before, by what is
    /// reserved for each; in whole credits, rounded up. 0 until the chunks are known.
    num_units_estimation: String,
    /// What is held for it until it ends.
    hold: Option<HoldOut>,
    num_chunks: u32,
    /// Chunks of the whole source. A test job works on the first two of them, `numChunks`.
    num_chunks_total: u32,
    /// Tasks that were accepted and gave no results.
    tasks_without_results: u32,
    /// What its customer should know of a run that went on; empty where there is nothing.
    warning: String,
    /// Why it failed; of a job that waits, why it waits or is tried again. Lists show only the first.
    error_message: String,
}

#[derive(Serialize, Clone, ToSchema)]
pub struct TemplateInfo {
    id: String,
    #[schema(value_type = String)]
    owner: WorkspaceId,
    description: String,
    app: String,
    partitioner: String,
    assembler: String,
}

/// A span in seconds, as a number with three decimals that no float has held.
pub struct Seconds {
    pub millis: u64,
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let text = format!("{}.{:03}", self.millis / 1000, self.millis % 1000);
        RawValue::from_string(text).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// The run of a job, if it has been started.
pub async fn run_of(app: &App, job: &Job) -> Result<Option<RunView>> {
    let Some(run) = job.run else { return Ok(None) };
    Ok(runs::find(&app.db, job.workspace, run).await?)
}

/// A job alone: a draft with a file to come also shows where to upload it.
pub async fn answer(app: &App, job: Job, run: Option<RunView>) -> Result<JobAnswer> {
    let upload = match job.source() {
        Some(Source::File(_)) if run.is_none() => {
            Some(app.data.upload_link(&BlobKey::Upload(job.id), UPLOAD_LIVES).await?)
        }
        _ => None,
    };
    let waits = why::message(app, run.as_ref()).await?;
    let mut job = JobOut::new(app, job, run, upload);
    if job.error_message.is_empty() {
        job.error_message = waits;
    }
    let template_info = job.template_info.clone();
    Ok(JobAnswer { job, template_info })
}

impl JobOut {
    pub fn new(app: &App, job: Job, run: Option<RunView>, upload: Option<String>) -> Self {
        let mut data_source = job.source().map(source_out);
        if let (Some(source), Some(link)) = (&mut data_source, upload) {
            source["params"]["tempUrl"] = json!(link);
        }
        let started_at = run.as_ref().and_then(RunView::started_at);
        let ended_at = run.as_ref().and_then(RunView::ended_at);
        // Of its work: a scheduled job may have waited for long.
        let began = run.as_ref().and_then(|run| run.times.began());
        let millis = began
            .zip(ended_at)
            .map_or(0, |(from, to)| u64::try_from((to - from).num_milliseconds()).unwrap_or(0));
        let hold = run.as_ref().filter(|run| !run.has_ended()).map(|run| HoldOut::of_run(app, run));
        let estimate = run.as_ref().and_then(|run| estimate(app, run)).unwrap_or_default();
        Self {
            id: job.id,
            template_id: job.template.id.clone(),
            template_info: TemplateInfo::new(job.workspace, &job.template),
            app_id: job.template.app_id.map_or_else(String::new, |id| id.to_string()),
            config: job.config().into(),
            params: job.params(),
            data_destination: destination_out(job.destination().unwrap_or(&Destination::Bucket)),
            data_source,
            priority: names::of_priority(job.priority),
            start_at: job.start_at,
            submitted_at: job.submitted_at,
            started_at,
            ended_at,
            completed_at: ended_at,
            created_at: job.created_at,
            deleted_at: job.deleted_at,
            regions: json!({"blacklist": job.regions.blacklist,
                            "whitelist": job.regions.whitelist}),
            tags: job.tags,
            state: states::of_job(run.as_ref()),
            status: states::status(run.as_ref()),
            phase: run.as_ref().and_then(|run| run.phase).map(Phase::as_str),
            state_timestamps: states::times(job.created_at, run.as_ref()),
            duration: Seconds { millis },
            payment_amount: Amount::of(run.as_ref().map_or(Credits::ZERO, |run| run.price)),
            num_units_estimation: estimate.rounded_up().to_string(),
            hold,
            num_chunks: run.as_ref().and_then(|run| run.chunks).unwrap_or(0),
            num_chunks_total: run.as_ref().and_then(|run| run.found).unwrap_or(0),
            tasks_without_results: run.as_ref().map_or(0, |run| run.empty),
            warning: run.as_ref().map(warning).unwrap_or_default(),
            error_message: run.and_then(|run| run.error).unwrap_or_default(),
            name: job.name,
            description: job.description,
        }
    }
}

/// What the customer of a run should know though it goes on.
fn warning(run: &RunView) -> String {
    let cut = run.chunks.zip(run.found).filter(|(chunks, found)| chunks < found);
    let cut = cut.map(|(chunks, found)| {
        format!("this is a test job: it works on the first {chunks} of its {found} chunks")
    });
    cut.into_iter().chain(run.warning.clone()).collect::<Vec<_>>().join("; ")
}

/// What a run is expected to cost in all, by what is known of it alone.
fn estimate(app: &App, run: &RunView) -> Option<Credits> {
    let chunks = run.chunks?.into();
    let forecast = Forecast::of_run(run).unwrap_or_else(|| {
        let secs = app.coordinator.reserved_secs(run.task_timeout_secs);
        Forecast::assumed(price::most(run.needs, secs), Credits::ZERO)
    });
    Some(forecast.total(chunks))
}

impl TemplateInfo {
    fn new(owner: WorkspaceId, template: &Template) -> Self {
        Self {
            id: template.id.clone(),
            owner: template.owner.unwrap_or(owner),
            description: template.description.clone(),
            app: template.app.clone(),
            partitioner: template.partitioner.clone(),
            assembler: template.assembler.clone(),
        }
    }
}
