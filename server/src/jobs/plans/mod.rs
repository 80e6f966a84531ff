//! Jobs that are whole plans: ordered with when they run, found by what is known of them, gone on
//! with after a failure, and removed with all that came with them.

pub mod executions;
pub mod list;
pub mod log;
mod parts;

use common::ids::{JobId, RunId};
use common::order::ordered_plan::OrderedPlan;
use common::package::config::JobConfig;
use common::run::RunState;
use common::run::cause::{Cause, CauseKind};
use common::run::spec::Origin;
use common::schedule::{Schedule, ScheduleState};
use common::secret::SecretId;
use uuid::Uuid;

use super::containers::{self, Terms};
use super::monitoring::status::find_job;
use super::ordered::Start;
use super::runs::{retry, start};
use super::{ApiName, Job, JobKind, RunView, resolve, schedules};
use crate::app::App;
use crate::coordinator;
use crate::error::{Error, Result};
use crate::people::caller::Caller;
use crate::store::jobs::{self, IdOrigin, JobWork, StartAs};
use crate::store::market::plan_runs;
pub use crate::store::secrets::Secret;
pub use parts::PartOf;

/// What is said of a new job.
pub struct NewPlan {
    pub id: JobId,
    /// Whose jobs it is found among.
    pub api: ApiName,
    pub work: OrderedPlan,
    /// What came with it and is kept sealed: each with its value.
    pub secrets: Vec<(Secret, String)>,
    pub terms: Terms,
}

/// A run of an ordered plan, and the job that it is of.
#[derive(Debug, Clone)]
pub struct PlanRun {
    pub job: Job,
    pub run: RunView,
    /// The schedule that has made the run.
    pub schedule: Option<Schedule>,
    /// Where it stands, where another run of the job has started it.
    pub part: Option<PartOf>,
}

impl PlanRun {
    /// Whether it ended because its plan cannot be followed: an image was not there.
    pub fn has_unusable_plan(&self) -> bool {
        self.run.cause.as_ref().is_some_and(|cause| cause.kind == CauseKind::Plan)
    }

    /// What was ordered.
    ///
    /// # Panics
    /// The job is of another kind: none is made so.
    pub fn work(&self) -> &OrderedPlan {
        self.job.work.plan().expect("only jobs of plans are taken")
    }

    /// What names it: the job, which has one run at a time, or the run that a schedule or another
    /// run has made.
    pub fn id(&self) -> Uuid {
        let is_named = self.schedule.is_some() || self.part.is_some();
        if is_named { self.run.id.uuid() } else { self.job.id.uuid() }
    }
}

/// An id for a new job.
pub fn new_id() -> JobId {
    JobId::new(Uuid::now_v7())
}

/// Makes a job and starts or schedules it; where that is refused, there is no job.
pub async fn order(app: &App, caller: &Caller, new: NewPlan, when: Start) -> Result<()> {
    let NewPlan { id, api, work, secrets, terms } = new;
    for (secret, value) in &secrets {
        app.secrets.keep(caller.workspace, secret, value).await?;
    }
    let mut job = Job::new(id, caller.workspace, JobWork::Plan(Box::new(work)));
    job.api = Some(api);
    terms.changes().into_iter().for_each(|change| job.change(change));
    let begun = match jobs::insert(&app.db, &job).await {
        Ok(_) => begin(app, caller, id, when).await,
        Err(error) => Err(error.into()),
    };
    if begun.is_err() {
        let lock = app.coordinator.lock_job(id).await?;
        jobs::delete_ended(&app.db, &lock, caller.workspace).await?;
        drop(lock);
        app.secrets.forget_job(caller.workspace, id).await?;
    }
    begun
}

async fn begin(app: &App, caller: &Caller, id: JobId, when: Start) -> Result<()> {
    match when {
        Start::Now => match start::prepare(app, caller, id, JobConfig::default()).await {
            Ok(ready) => ready.start(app).await.map(drop),
            Err(Error::NotNow(why)) => fail(app, caller, id, why).await,
            Err(error) => Err(error),
        },
        Start::Schedule(rules) => schedules::set(app, caller, id, rules).await.map(drop),
    }
}

/// Starts a run that fails at once: an image that nobody has is no fault of the order.
async fn fail(app: &App, caller: &Caller, id: JobId, why: String) -> Result<()> {
    let read = start::read(app, caller, id).await?;
    let Some(work) = read.job.work.plan() else { return Err(Error::NotNow(why)) };
    let spec = resolve::unpinned(app, &read.job, work)?;
    let run = RunId::new(Uuid::now_v7());
    let how = StartAs::Again { run, origin: IdOrigin::Drawn };
    app.coordinator.start_job(spec, read, how).await?;
    match app.coordinator.break_off_run(run, Cause::new(CauseKind::Plan, why)).await {
        // It has ended meanwhile.
        Ok(()) | Err(coordinator::Error::NoRun) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The run that this id names: the latest of a job without a schedule, one that a schedule has
/// made, or one that another run has started.
pub async fn find(app: &App, caller: &Caller, api: &ApiName, id: Uuid) -> Result<Option<PlanRun>> {
    let job = jobs::find_with_run(&app.db, caller.workspace, JobId::new(id)).await?;
    if let Some((job, run)) = job {
        if schedules::of_job(app, job.id).await?.is_some() {
            return Ok(None);
        }
        let of = |run| PlanRun { job, run, schedule: None, part: None };
        return Ok(run.map(of).filter(|found| is_of(&found.job, api)));
    }
    let Some(run) = plan_runs::find(&app.db, caller.workspace, RunId::new(id)).await? else {
        return Ok(None);
    };
    let found = find_run(app, caller, api, run).await?;
    Ok(found.filter(|found| found.id() == id))
}

/// A run with its job; `None` where it is no work of a job of this API.
async fn find_run(
    app: &App,
    caller: &Caller,
    api: &ApiName,
    run: RunView,
) -> Result<Option<PlanRun>> {
    let job = jobs::find(&app.db, caller.workspace, run.job).await?;
    let Some(job) = job.filter(|job| is_of(job, api)) else { return Ok(None) };
    let schedule = match run.origin.nominal() {
        Some(_) => schedules::of_job(app, job.id).await?,
        None => None,
    };
    with_place(app, job, run, schedule).await
}

/// A run with where it stands; `None` where that is not known any more, or it is no work of its
/// job.
async fn with_place(
    app: &App,
    job: Job,
    run: RunView,
    schedule: Option<Schedule>,
) -> Result<Option<PlanRun>> {
    let part = parts::find(app, &run).await?;
    let is_placed = match run.origin {
        Origin::Manual | Origin::Schedule(_) => true,
        Origin::Part(_) | Origin::Detached(_) => part.is_some(),
        Origin::Callback(_) => false,
    };
    Ok(is_placed.then_some(PlanRun { job, run, schedule, part }))
}

/// Whether it is a plan that this API has made.
fn is_of(job: &Job, api: &ApiName) -> bool {
    job.work.kind() == JobKind::Plan && job.api.as_ref() == Some(api)
}

/// The run that has the task of this id.
pub async fn find_by_task(
    app: &App,
    caller: &Caller,
    api: &ApiName,
    id: Uuid,
) -> Result<Option<PlanRun>> {
    for run in plan_runs::near(&app.db, caller.workspace, id).await? {
        if executions::attempt_of(id, run).is_none() {
            continue;
        }
        if let Some(run) = plan_runs::find(&app.db, caller.workspace, run).await? {
            return find_run(app, caller, api, run).await;
        }
    }
    Ok(None)
}

/// Stops a run that goes on, with those that wait for it; false where it has ended.
pub async fn cancel(app: &App, of: &PlanRun) -> Result<bool> {
    if of.run.has_ended() {
        return Ok(false);
    }
    let run = of.part.as_ref().map_or(of.run.id, |part| part.root);
    match app.coordinator.cancel_run(run, "cancelled by its customer".to_owned()).await {
        Ok(()) => Ok(true),
        Err(coordinator::Error::NoRun) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Goes on with a run that failed or was cancelled. One whose plan could not be followed, because an
/// image was not there, begins again from its start.
pub async fn restart(app: &App, caller: &Caller, ended: &PlanRun) -> Result<()> {
    if ended.has_unusable_plan() {
        let ready = start::prepare(app, caller, ended.job.id, JobConfig::default()).await?;
        return ready.start(app).await.map(drop);
    }
    retry::retry(app, caller, ended.run.id).await
}

/// Values that no text of this job may show.
pub async fn hidden_values(app: &App, job: &Job) -> Result<Vec<String>> {
    let Some(work) = job.work.plan() else { return Ok(Vec::new()) };
    let logins = work.images.iter().filter_map(|image| image.secret.clone());
    let ids: Vec<SecretId> = work.scope.secrets.values().cloned().chain(logins).collect();
    Ok(app.secrets.to_hide(job.workspace, &ids).await?)
}

/// Values that no text of any of these runs may show.
pub async fn hidden_values_of(
    app: &App,
    caller: &Caller,
    of: &[(PlanRun, u64)],
) -> Result<Vec<String>> {
    let works = of.iter().map(|(run, _)| run.work());
    let ids: Vec<SecretId> = works.flat_map(|work| work.scope.secrets.values().cloned()).collect();
    Ok(app.secrets.to_hide(caller.workspace, &ids).await?)
}

/// The caller's job of a plan that has a schedule.
pub async fn find_scheduled(
    app: &App,
    caller: &Caller,
    api: &ApiName,
    id: Uuid,
) -> Result<Option<(Job, Schedule)>> {
    let job = match find_job(app, caller, JobId::new(id)).await {
        Ok(job) => job,
        Err(Error::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let schedule = schedules::of_job(app, job.id).await?;
    Ok(schedule.filter(|_| is_of(&job, api)).map(|schedule| (job, schedule)))
}

/// Whether a schedule makes runs now.
pub fn is_active(schedule: &Schedule) -> bool {
    schedule.state == ScheduleState::Active
}

/// Deletes a job with its schedule, its runs and what came with it.
pub async fn remove(app: &App, caller: &Caller, id: JobId) -> Result<()> {
    containers::remove(app, caller, id).await
}

/// What the jobs of a workspace do now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    pub runs: u64,
    pub tasks_running: u64,
}

/// How much the plans of an API run.
pub async fn load(app: &App, caller: &Caller, api: &ApiName) -> Result<Load> {
    let part = (0, list::SCANNED);
    let (listed, _) = plan_runs::list(&app.db, caller.workspace, api, &[], part).await?;
    let mut load = Load::default();
    for run in listed.iter().filter(|run| !run.state.is_final() && run.state != RunState::Ending) {
        load.runs += 1;
        if let Some(live) = app.coordinator.progress(run.run) {
            load.tasks_running += u64::from(live.tasks_running);
        }
    }
    Ok(load)
}
