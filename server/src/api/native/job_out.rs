//! A job as it is shown.

use chrono::{DateTime, Utc};
use common::data::location::Destination;
use common::ids::{JobId, RunId};
use serde::Serialize;
use utoipa::ToSchema;

use super::cause::RunCauseOut;
use super::config::ConfigOut;
use super::locations::LocationOut;
use super::params::ParamsOut;
use super::scheduling::{PriorityOut, RegionsOut};
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
    /// Its share of the nodes while others wait.
    priority: PriorityOut,
    /// Where it may run.
    regions: RegionsOut,
    /// What its workspace has marked it with.
    tags: Vec<String>,
    /// Its work begins no earlier.
    start_at: Option<DateTime<Utc>>,
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
    /// Why its run failed or was cancelled.
    cause: Option<RunCauseOut>,
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
            cause: run.and_then(|run| run.cause.as_ref()).map(RunCauseOut::from),
            priority: job.priority.into(),
            regions: job.regions.into(),
            tags: job.tags,
            start_at: job.start_at,
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
