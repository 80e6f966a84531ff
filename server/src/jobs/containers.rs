//! Jobs of containers: made, changed between their runs, and removed with all of them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::ids::{JobId, QueueId, RunId};
use common::market::TaskState;
use common::order::callback::Callbacks;
use common::order::container::{ContainerOrder, ContainerWork};
use common::protocol::Failure;
use common::run::RunState;
use common::run::scheduling::{Priority, Regions};
use common::run::task::TaskRef;
use uuid::Uuid;

use super::monitoring::status::{JobStatus, find, find_job, run_of};
use super::{ApiName, Job, RunView, schedules, secret_use};
use crate::app::App;
use crate::coordinator::Tasks;
use crate::error::{Error, Result};
use crate::idempotency::{self, NewId, RequestKey};
use crate::people::caller::Caller;
use crate::store::jobs::{self, Change, JobWork};
use crate::store::market::{runs, tasks};

/// The longest name of a project.
pub const PROJECT_CHARS_MAX: usize = 128;

/// What is said of a new job of containers.
pub struct NewContainers {
    pub work: ContainerWork,
    pub terms: Terms,
    pub project: Option<String>,
    /// The API that makes it, where that API shows its own jobs alone.
    pub api: Option<ApiName>,
}

/// What is said of a job beside its work. What is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    pub name: Option<String>,
    pub description: Option<String>,
    pub priority: Option<Priority>,
    pub regions: Option<Regions>,
    pub tags: Option<Vec<String>>,
    pub start_at: Option<DateTime<Utc>>,
    /// The queue that its runs stand in.
    pub queue: Option<QueueId>,
    /// In place of all that the job has.
    pub callbacks: Option<Callbacks>,
    /// It is deleted so many seconds after the end of its latest run.
    pub auto_delete_secs: Option<u32>,
}

/// How the main container of a run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MainContainer {
    /// Some attempt of it has begun to run.
    pub has_begun: bool,
    /// When its latest attempt began to run.
    pub running_at: Option<DateTime<Utc>>,
    /// The code with which its latest attempt ended, where it ended by itself.
    pub exit_code: Option<i64>,
    /// Why its latest attempt failed.
    pub failure: Option<Failure>,
}

/// Makes a job. Asked for again under the same key, it makes nothing more.
pub async fn create(
    app: &App,
    caller: &Caller,
    key: Option<&RequestKey>,
    new: NewContainers,
) -> Result<JobStatus> {
    let work = JobWork::Container(Box::new(new.work));
    make(app, caller, key, work, new.terms, (new.api, new.project)).await
}

/// Makes a job of this work, as [`create`] does.
pub(super) async fn make(
    app: &App,
    caller: &Caller,
    key: Option<&RequestKey>,
    work: JobWork,
    terms: Terms,
    (api, project): (Option<ApiName>, Option<String>),
) -> Result<JobStatus> {
    let new = idempotency::new_id(app, caller, key, Uuid::now_v7()).await?;
    let (NewId { id, named, .. }, origin) = (new, new.origin());
    let id = JobId::new(id);
    let mut job = Job::new(id, caller.workspace, work);
    job.project = project;
    job.api = api;
    terms.changes().into_iter().for_each(|change| job.change(change));
    secret_use::check_job(caller, &job)?;
    if !app.coordinator.create_job(&job, origin).await? {
        let made = jobs::find(&app.db, caller.workspace, id).await?.filter(|_| named);
        job = made.ok_or_else(|| Error::not_found("job", &id.to_string()))?;
    }
    let run = run_of(app, &job).await?;
    JobStatus::of(app, job, run).await
}

/// Changes the caller's job of this id from its next run on. `work` makes its new order of the one
/// that it has.
pub async fn change(
    app: &App,
    caller: &Caller,
    id: JobId,
    terms: Terms,
    work: impl FnOnce(&ContainerOrder) -> Result<Option<ContainerWork>>,
) -> Result<JobStatus> {
    let lock = app.coordinator.lock_job(id).await?;
    let mut job = find_job(app, caller, id).await?;
    let Some(before) = job.work.container() else {
        return Err(Error::NotNow("this job runs no containers: change its template".to_owned()));
    };
    let mut changes = terms.changes();
    changes.extend(work(before)?.map(Box::new).map(Change::Container));
    changes.iter().for_each(|change| job.change(change.clone()));
    secret_use::check_job(caller, &job)?;
    if !changes.is_empty() && !jobs::change(&app.db, &lock, caller.workspace, changes).await? {
        return Err(Error::not_found("job", &id.to_string()));
    }
    let (job, run) = find(app, caller, id).await?;
    JobStatus::of(app, job, run).await
}

/// Deletes a job, and cancels all of its runs that have not ended. No run begins after it.
pub async fn remove(app: &App, caller: &Caller, id: JobId) -> Result<()> {
    {
        let lock = app.coordinator.lock_job(id).await?;
        find_job(app, caller, id).await?;
        if !jobs::delete_ended(&app.db, &lock, caller.workspace).await? {
            return Err(Error::not_found("job", &id.to_string()));
        }
    }
    schedules::remove_with_job(app, id).await?;
    for run in runs::unfinished_of(&app.db, caller.workspace, id).await? {
        app.coordinator.cancel_run(run, DELETED.to_owned()).await?;
        tracing::info!(job = %id, %run, "run cancelled because its job was deleted");
    }
    app.secrets.forget_job(caller.workspace, id).await?;
    Ok(())
}

const DELETED: &str = "its job was deleted";

/// Whether a job of containers belongs to a project, and this API has made it.
pub fn is_of_project(job: &Job, api: &ApiName, project: &str) -> bool {
    let is_own = job.work.container().is_some() && job.api.as_ref() == Some(api);
    is_own && job.project.as_deref() == Some(project)
}

/// How many runs a job has.
pub struct RunCounts {
    pub by_state: BTreeMap<RunState, u64>,
    /// Those that have not ended.
    pub unfinished: Vec<(RunView, MainContainer)>,
}

/// Counts the runs of the caller's job of this id.
pub async fn count_runs(app: &App, caller: &Caller, id: JobId) -> Result<RunCounts> {
    find_job(app, caller, id).await?;
    let by_state = runs::count_of_job(&app.db, caller.workspace, id).await?;
    let ids = runs::unfinished_of(&app.db, caller.workspace, id).await?;
    let unfinished = runs::find_many(&app.db, caller.workspace, &ids).await?;
    let mains = main_containers(app, &unfinished.iter().collect::<Vec<_>>()).await?;
    Ok(RunCounts { by_state, unfinished: unfinished.into_iter().zip(mains).collect() })
}

/// How the main containers of these runs went, in their order. Of runs that are under way, the
/// coordinator knows more than the database.
pub async fn main_containers(app: &App, of: &[&RunView]) -> Result<Vec<MainContainer>> {
    let ids: Vec<RunId> = of.iter().map(|run| run.id).collect();
    let found = tasks::single_of(&app.db, &ids).await?;
    let mut mains = Vec::with_capacity(of.len());
    for run in of {
        let task = found.get(&run.id);
        let mut main = MainContainer {
            // One that waits again, or has ended, has been under way.
            has_begun: task
                .is_some_and(|task| task.lease.attempt > 1 || task.state != TaskState::Leased),
            running_at: task.and_then(|task| task.running_at),
            exit_code: task.and_then(|task| task.head).and_then(|head| head.exit_code),
            failure: task.and_then(|task| task.head).and_then(|head| head.failure),
        };
        if !run.has_ended()
            && let Some(TaskRef { stage, .. }) = task.map(|task| task.lease.task)
        {
            let tasks = Tasks { run: run.id, stage, indexes: 0..=0 };
            let under_lease = app.coordinator.under_lease(tasks).await?;
            main.running_at = under_lease.first().and_then(|lease| lease.running_at);
            main.has_begun |= main.running_at.is_some();
        }
        mains.push(main);
    }
    Ok(mains)
}

impl Terms {
    pub(super) fn changes(self) -> Vec<Change> {
        let Self { name, description, priority, regions, tags, start_at, .. } = self;
        let mut changes = Vec::new();
        changes.extend(name.map(Change::Name));
        changes.extend(description.map(Change::Description));
        changes.extend(priority.map(Change::Priority));
        changes.extend(regions.map(Change::Regions));
        changes.extend(tags.map(Change::Tags));
        changes.extend(start_at.map(Change::StartAt));
        changes.extend(self.queue.map(Change::Queue));
        changes.extend(self.callbacks.map(Change::Callbacks));
        changes.extend(self.auto_delete_secs.map(Change::AutoDelete));
        changes
    }
}
