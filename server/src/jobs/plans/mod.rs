//! Jobs that are whole plans: ordered with when they run, found by what is known of them, gone on
//! with after a failure, and removed with all that came with them.

pub mod executions;
pub mod list;
pub mod log;

use common::ids::{JobId, RunId};
use common::order::ordered_plan::OrderedPlan;
use common::package::config::JobConfig;
use common::run::RunState;
use common::run::cause::{Cause, CauseKind};
use common::schedule::{Schedule, ScheduleState};
use common::secret::SecretId;
use uuid::Uuid;

use super::containers::{self, Terms};
use super::monitoring::status::{self, find_job};
use super::ordered::Start;
use super::{Job, JobKind, RunView, resolve, retry, schedules, start};
use crate::app::App;
use crate::coordinator;
use crate::error::{Error, Result};
use crate::people::caller::Caller;
use crate::store::jobs::{self, JobWork, StartAs};
use crate::store::market::{plan_runs, runs};
pub use crate::store::secrets::Secret;

/// What is said of a new job.
pub struct NewPlan {
    pub id: JobId,
    /// Whose jobs it is found among.
    pub project: &'static str,
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
}

impl PlanRun {
    /// What was ordered.
    ///
    /// # Panics
    /// The job is of another kind: none is made so.
    pub fn work(&self) -> &OrderedPlan {
        self.job.work.plan().expect("only jobs of plans are taken")
    }

    /// What names it: the job, which has one run at a time, or the run that a schedule has made.
    pub fn id(&self) -> Uuid {
        if self.schedule.is_some() { self.run.id.uuid() } else { self.job.id.uuid() }
    }
}

/// An id for a new job.
pub fn new_id() -> JobId {
    JobId::new(Uuid::now_v7())
}

/// Makes a job and starts or schedules it; where that is refused, there is no job.
pub async fn order(app: &App, caller: &Caller, new: NewPlan, when: Start) -> Result<()> {
    let NewPlan { id, project, work, secrets, terms } = new;
    for (secret, value) in &secrets {
        app.secrets.keep(caller.workspace, secret, value).await?;
    }
    let mut job = Job::new(id, caller.workspace, JobWork::Plan(Box::new(work)));
    job.project = Some(project.to_owned());
    terms.changes().into_iter().for_each(|change| job.change(change));
    let begun = match jobs::insert(&app.db, &job).await {
        Ok(_) => begin(app, caller, id, when).await,
        Err(error) => Err(error.into()),
    };
    if begun.is_err() {
        jobs::delete_ended(&app.db, caller.workspace, id).await?;
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
    let job = find_job(app, caller, id).await?;
    let Some(work) = job.work.plan() else { return Err(Error::NotNow(why)) };
    let spec = resolve::unpinned(app, &job, work)?;
    let run = RunId::new(Uuid::now_v7());
    app.coordinator.start_job(spec, job.draft, StartAs::Again(run)).await?;
    match app.coordinator.break_off_run(run, Cause::new(CauseKind::Plan, why)).await {
        // It has ended meanwhile.
        Ok(()) | Err(coordinator::Error::NoRun) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The run that this id names: the latest of a job without a schedule, or one of a job's with one.
pub async fn find(app: &App, caller: &Caller, project: &str, id: Uuid) -> Result<Option<PlanRun>> {
    let job = jobs::find(&app.db, caller.workspace, JobId::new(id)).await?;
    if let Some(job) = job {
        if schedules::of_job(app, job.id).await?.is_some() {
            return Ok(None);
        }
        let run = status::run_of(app, &job).await?;
        return Ok(run.and_then(|run| plan_run(project, job, run, None)));
    }
    let Some(run) = runs::find(&app.db, caller.workspace, RunId::new(id)).await? else {
        return Ok(None);
    };
    find_run(app, caller, project, run).await
}

async fn find_run(
    app: &App,
    caller: &Caller,
    project: &str,
    run: RunView,
) -> Result<Option<PlanRun>> {
    let Some(job) = jobs::find(&app.db, caller.workspace, run.job).await? else { return Ok(None) };
    let schedule = match run.origin.nominal() {
        Some(_) => schedules::of_job(app, job.id).await?,
        None => None,
    };
    Ok(plan_run(project, job, run, schedule))
}

fn plan_run(project: &str, job: Job, run: RunView, schedule: Option<Schedule>) -> Option<PlanRun> {
    is_of(&job, project).then_some(PlanRun { job, run, schedule })
}

/// Whether it is a plan of this project.
fn is_of(job: &Job, project: &str) -> bool {
    job.work.kind() == JobKind::Plan && job.project.as_deref() == Some(project)
}

/// The run that has the task of this id.
pub async fn find_by_task(
    app: &App,
    caller: &Caller,
    project: &str,
    id: Uuid,
) -> Result<Option<PlanRun>> {
    for run in plan_runs::near(&app.db, caller.workspace, id).await? {
        if executions::attempt_of(id, run).is_none() {
            continue;
        }
        if let Some(run) = runs::find(&app.db, caller.workspace, run).await? {
            return find_run(app, caller, project, run).await;
        }
    }
    Ok(None)
}

/// Stops a run that goes on; false where it has ended.
pub async fn cancel(app: &App, run: &RunView) -> Result<bool> {
    if run.has_ended() {
        return Ok(false);
    }
    match app.coordinator.cancel_run(run.id, "cancelled by its customer".to_owned()).await {
        Ok(()) => Ok(true),
        Err(coordinator::Error::NoRun) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Goes on with a run that failed or was cancelled. One whose plan could not be followed, because an
/// image was not there, begins anew.
pub async fn restart(app: &App, caller: &Caller, ended: &PlanRun) -> Result<()> {
    let is_of_plan = |cause: &Cause| cause.kind == CauseKind::Plan;
    if ended.run.cause.as_ref().is_some_and(is_of_plan) {
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
    project: &str,
    id: Uuid,
) -> Result<Option<(Job, Schedule)>> {
    let job = match find_job(app, caller, JobId::new(id)).await {
        Ok(job) => job,
        Err(Error::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let schedule = schedules::of_job(app, job.id).await?;
    Ok(schedule.filter(|_| is_of(&job, project)).map(|schedule| (job, schedule)))
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
    pub tasks_waiting: u64,
}

/// How much the plans of a project run and wait for.
pub async fn load(app: &App, caller: &Caller, project: &str) -> Result<Load> {
    let part = (0, list::SCANNED);
    let (listed, _) = plan_runs::list(&app.db, caller.workspace, project, &[], part).await?;
    let mut load = Load::default();
    for run in listed.iter().filter(|run| !run.state.is_final() && run.state != RunState::Ending) {
        load.runs += 1;
        if let Some(live) = app.coordinator.progress(run.run) {
            let waiting = live.chunks.saturating_sub(live.chunks_done);
            load.tasks_running += u64::from(live.tasks_running);
            load.tasks_waiting += u64::from(waiting.saturating_sub(live.tasks_running));
        }
    }
    Ok(load)
}
