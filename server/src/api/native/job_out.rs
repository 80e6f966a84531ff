//! A job as it is shown.

use chrono::{DateTime, Utc};
use common::data::location::Destination;
use common::ids::{JobId, RunId};
use common::package::config::JobConfig;
use common::package::template::PhaseParams;
use common::plan::Params;
use serde::Serialize;
use utoipa::ToSchema;

use super::locations::LocationOut;
use super::words::{PhaseOut, StateOut};
use crate::jobs::RunView;
use crate::jobs::monitoring::status::JobStatus;

/// A customer's order.
#[derive(Serialize, ToSchema)]
#[schema(as = Job)]
pub struct JobOut {
    #[schema(value_type = String)]
    id: JobId,
    name: String,
    description: String,
    state: StateOut,
    /// The part of its run that is under way.
    phase: Option<PhaseOut>,
    /// What it is made of.
    template: JobTemplate,
    /// Where its data comes from.
    source: Option<LocationOut>,
    /// Where its results go.
    destination: LocationOut,
    params: ParamsOut,
    config: ConfigOut,
    /// Where to PUT the source of a draft that is a file. Lists leave it out.
    upload_link: Option<String>,
    /// The id of its run, once it has been started.
    #[schema(value_type = Option<String>)]
    run: Option<RunId>,
    created_at: DateTime<Utc>,
    /// When its run was accepted.
    started_at: Option<DateTime<Utc>>,
    /// When its run ended, or was cancelled.
    ended_at: Option<DateTime<Utc>>,
    /// Why its run failed.
    error: Option<String>,
}

/// What a job is made of: its packages by their tags.
#[derive(Serialize, ToSchema)]
struct JobTemplate {
    /// Empty where the job names its packages itself.
    id: String,
    partitioner: String,
    app: String,
    assembler: String,
}

/// The params of the three phases, to the last digit.
#[derive(Serialize, ToSchema)]
#[schema(as = Params)]
struct ParamsOut {
    #[schema(value_type = Object)]
    partitioner: Params,
    #[schema(value_type = Object)]
    app: Params,
    #[schema(value_type = Object)]
    assembler: Params,
}

/// When a job stops trying; what is not set is null.
#[derive(Serialize, ToSchema)]
#[schema(as = Config)]
struct ConfigOut {
    /// Seconds; 0 is the server's default.
    task_timeout: Option<u32>,
    /// Seconds; 0 means no limit.
    job_timeout: Option<u32>,
    /// Works on the first two chunks only.
    is_test_job: Option<bool>,
    /// Further tries of a task that failed.
    max_task_retries: Option<u32>,
    /// A task that gives no results has failed and is not paid.
    require_results: Option<bool>,
    /// Whether the same input always gives the same results.
    deterministic: Option<bool>,
}

impl From<JobStatus> for JobOut {
    fn from(status: JobStatus) -> Self {
        let state = status.state();
        let JobStatus { job, run, upload_link, .. } = status;
        let run = run.as_ref();
        Self {
            id: job.id,
            state: state.into(),
            phase: state.phase.map(PhaseOut::from),
            source: job.source().map(LocationOut::from),
            destination: job.destination().unwrap_or(&Destination::Bucket).into(),
            params: job.params().into(),
            config: job.config().into(),
            upload_link,
            run: job.run,
            created_at: job.created_at,
            started_at: run.and_then(RunView::started_at),
            ended_at: run.and_then(RunView::ended_at),
            error: run.and_then(|run| run.error.clone()),
            name: job.name,
            description: job.description,
            template: JobTemplate {
                id: job.template.id,
                partitioner: job.template.partitioner,
                app: job.template.app,
                assembler: job.template.assembler,
            },
        }
    }
}

impl From<PhaseParams> for ParamsOut {
    fn from(PhaseParams { partitioner, app, assembler }: PhaseParams) -> Self {
        Self { partitioner, app, assembler }
    }
}

impl From<JobConfig> for ConfigOut {
    fn from(config: JobConfig) -> Self {
        Self {
            task_timeout: config.task_timeout_secs,
            job_timeout: config.job_timeout_secs,
            is_test_job: config.is_test,
            max_task_retries: config.task_retries,
            require_results: config.require_results,
            deterministic: config.deterministic,
        }
    }
}
