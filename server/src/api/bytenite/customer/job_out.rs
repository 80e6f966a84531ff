//! A job as it is shown, with its run where it has one.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::data::location::Destination;
use common::ids::{JobId, WorkspaceId};
use common::money::credits::Credits;
use common::package::template::{PhaseParams, Template};
use common::plan::Phase;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::hold::HoldOut;
use super::states;
use crate::api::bytenite::descriptor::{destination_out, source_out};
use crate::api::bytenite::wallet::Amount;
use crate::api::bytenite::work::ConfigOut;
use crate::api::bytenite::{names, words};
use crate::jobs::monitoring::status::JobStatus;
use crate::jobs::{RunView, TemplateWork};

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
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = format!("{}.{:03}", self.millis / 1000, self.millis % 1000);
        RawValue::from_string(text).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl From<JobStatus> for JobAnswer {
    fn from(status: JobStatus) -> Self {
        let job = JobOut::from(status);
        let template_info = job.template_info.clone();
        Self { job, template_info }
    }
}

impl From<JobStatus> for JobOut {
    /// A job without a template has no data and no params here.
    fn from(status: JobStatus) -> Self {
        let (state, warning) = (status.state(), status.warning());
        let error_message = status.message().to_owned();
        let JobStatus { job, run, hold, estimate, upload_link, .. } = status;
        let other = || TemplateWork::new(Template::of(String::new(), String::new(), String::new()));
        let work = job.work.template().cloned().unwrap_or_else(other);
        let mut data_source = work.source().map(source_out);
        if let (Some(source), Some(link)) = (&mut data_source, upload_link) {
            source["params"]["tempUrl"] = json!(link);
        }
        let run = run.as_ref();
        let ended_at = run.and_then(RunView::ended_at);
        // Of its work: a scheduled job may have waited for long.
        let began = run.and_then(|run| run.times.began());
        let millis = began
            .zip(ended_at)
            .map_or(0, |(from, to)| u64::try_from((to - from).num_milliseconds()).unwrap_or(0));
        Self {
            id: job.id,
            template_id: work.template.id.clone(),
            template_info: TemplateInfo::new(job.workspace, &work.template),
            app_id: work.template.app_id.map_or_else(String::new, |id| id.to_string()),
            config: work.config().into(),
            params: work.params(),
            data_destination: destination_out(work.destination().unwrap_or(&Destination::Bucket)),
            data_source,
            priority: names::of_priority(job.priority),
            start_at: job.start_at,
            submitted_at: job.submitted_at,
            started_at: run.and_then(RunView::started_at),
            ended_at,
            completed_at: ended_at,
            created_at: job.created_at,
            deleted_at: job.deleted_at,
            regions: json!({"blacklist": job.regions.blacklist,
                            "whitelist": job.regions.whitelist}),
            tags: job.tags,
            state: states::of(state),
            status: states::status(state),
            phase: state.phase.map(Phase::as_str),
            state_timestamps: states::times(job.created_at, run),
            duration: Seconds { millis },
            payment_amount: Amount::of(run.map_or(Credits::ZERO, |run| run.price)),
            num_units_estimation: estimate.unwrap_or_default().rounded_up().to_string(),
            hold: hold.map(HoldOut::from),
            num_chunks: run.and_then(|run| run.chunks).unwrap_or(0),
            num_chunks_total: run.and_then(|run| run.found).unwrap_or(0),
            tasks_without_results: run.map_or(0, |run| run.empty),
            warning,
            error_message,
            name: job.name,
            description: job.description,
        }
    }
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
