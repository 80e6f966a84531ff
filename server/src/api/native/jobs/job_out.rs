//! A job as it is shown.

use chrono::{DateTime, Utc};
use common::data::location::Destination;
use common::ids::{JobId, QueueId, RunId};
use common::package::template::Template;
use serde::Serialize;
use utoipa::ToSchema;

use super::call::CallOut;
use super::callbacks::CallbackOut;
use super::config::ConfigOut;
use super::container_out::ContainerOut;
use super::locations::LocationOut;
use super::params::ParamsOut;
use super::scheduling::{PriorityOut, RegionsOut};
use crate::api::native::runs::cause::RunCauseOut;
use crate::api::native::words::{JobKindOut, PhaseOut, StateOut};
use crate::jobs::monitoring::status::JobStatus;
use crate::jobs::{RunView, TemplateWork};

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
    /// What it does: run the packages of a template on data, make an HTTP call, run containers, or
    /// follow a plan of several steps.
    kind: JobKindOut,
    /// What a job of the kind template is made of.
    template: Option<JobTemplate>,
    /// Where the data of a template's job comes from.
    source: Option<LocationOut>,
    /// Where the results of a template's job go.
    destination: Option<LocationOut>,
    /// Of a template's job.
    params: Option<ParamsOut>,
    /// Of a template's job.
    config: Option<ConfigOut>,
    /// What a job of the kind call does.
    call: Option<CallOut>,
    /// Of a job of containers.
    container: Option<ContainerOut>,
    /// Of a job of the kind plan: what it was ordered as, such as its job file.
    #[schema(value_type = Option<Object>)]
    workflow: Option<serde_json::Value>,
    /// The project that it belongs to, where it was given one.
    project: Option<String>,
    /// The queue that its runs stand in.
    #[schema(value_type = Option<String>)]
    queue: Option<QueueId>,
    /// Its share of the nodes while others wait.
    priority: PriorityOut,
    /// Where it may run.
    regions: RegionsOut,
    /// What its workspace has marked it with.
    tags: Vec<String>,
    /// Requests that tell how each run has ended.
    callbacks: Vec<CallbackOut>,
    /// It is deleted so many seconds after the end of its latest run.
    auto_delete_secs: Option<u32>,
    /// Its work begins no earlier.
    start_at: Option<DateTime<Utc>>,
    /// Where to PUT the source of a draft that is a file. Lists leave it out.
    upload_link: Option<String>,
    /// The id of its latest run, once it has been started.
    #[schema(value_type = Option<String>)]
    run: Option<RunId>,
    created_at: DateTime<Utc>,
    /// When its latest run was accepted.
    started_at: Option<DateTime<Utc>>,
    /// When its latest run ended, or was cancelled.
    ended_at: Option<DateTime<Utc>>,
    /// Why its latest run failed or was cancelled.
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
        let (run, work) = (run.as_ref(), job.work.template());
        Self {
            id: job.id,
            state: state.into(),
            phase: state.phase.map(PhaseOut::from),
            kind: job.work.kind().into(),
            source: work.and_then(TemplateWork::source).map(LocationOut::from),
            destination: work.map(|work| work.destination().unwrap_or(&Destination::Bucket).into()),
            params: work.map(|work| work.params().into()),
            config: work.map(|work| work.config().into()),
            template: work.map(|work| JobTemplate::of(&work.template)),
            call: job.work.call().map(CallOut::from),
            container: job.work.container().map(ContainerOut::from),
            workflow: job.work.plan().map(|work| work.document.clone()),
            project: job.project.clone(),
            queue: job.queue,
            upload_link,
            run: job.run,
            created_at: job.created_at,
            started_at: run.and_then(RunView::started_at),
            ended_at: run.and_then(RunView::ended_at),
            cause: run.and_then(|run| run.cause.as_ref()).map(RunCauseOut::from),
            priority: job.priority.into(),
            regions: job.regions.into(),
            tags: job.tags,
            callbacks: job.callbacks.iter().map(CallbackOut::from).collect(),
            auto_delete_secs: job.auto_delete_secs,
            start_at: job.start_at,
            name: job.name,
            description: job.description,
        }
    }
}

impl JobTemplate {
    fn of(template: &Template) -> Self {
        Self {
            id: template.id.clone(),
            partitioner: template.partitioner.clone(),
            app: template.app.clone(),
            assembler: template.assembler.clone(),
        }
    }
}
