//! Jobs that are ordered with when they run: made and started, or scheduled, in one request.

use common::ids::JobId;
use common::order::call::CallWork;
use common::package::config::JobConfig;
use common::schedule::{Rules, Schedule};

use super::draft::call::{self, NewCall};
use super::monitoring::status::{self, JobStatus};
use super::runs::{cancel, start};
use super::{JobScope, RunView, list, schedules};
use crate::app::App;
use crate::clock;
use crate::error::{Error, Result};
use crate::idempotency::RequestKey;
use crate::people::caller::Caller;
use crate::store::jobs;
use crate::store::market::runs;

/// An order that was cut off by a crash has neither a run nor a schedule; after so many seconds
/// another one may take its name.
const CUT_OFF_SECS: i64 = 60;

/// When an ordered job runs.
pub enum Start {
    Now,
    Schedule(Rules),
}

/// A job with its latest run and its schedule.
#[derive(Debug)]
pub struct Ordered {
    status: JobStatus,
    pub schedule: Option<Schedule>,
}

impl Ordered {
    pub fn id(&self) -> JobId {
        self.status.job.id
    }

    pub fn name(&self) -> &str {
        &self.status.job.name
    }

    /// What it does, where it is a call.
    pub fn call(&self) -> Option<&CallWork> {
        self.status.job.work.call()
    }

    /// Its latest run.
    pub fn run(&self) -> Option<&RunView> {
        self.status.run.as_ref()
    }
}

/// Makes a job and starts or schedules it; where that is refused, there is no job. Asked for again
/// under the same key, it makes nothing more.
pub async fn order(
    app: &App,
    caller: &Caller,
    key: Option<&RequestKey>,
    new: NewCall,
    start: Start,
) -> Result<Ordered> {
    forget_cut_off(app, caller, &new).await?;
    let made = call::create(app, caller, key, new).await?;
    let id = made.job.id;
    if made.job.run.is_none() && schedules::of_job(app, id).await?.is_none() {
        let begun = match start {
            Start::Now => begin(app, caller, id).await,
            Start::Schedule(rules) => schedules::set(app, caller, id, rules).await.map(drop),
        };
        if let Err(refused) = begun {
            cancel::delete(app, caller, id).await?;
            return Err(refused);
        }
    }
    read(app, caller, id).await
}

async fn begin(app: &App, caller: &Caller, id: JobId) -> Result<()> {
    start::prepare(app, caller, id, JobConfig::default()).await?.start(app).await.map(drop)
}

/// Deletes the job of the same name whose order was never answered.
async fn forget_cut_off(app: &App, caller: &Caller, new: &NewCall) -> Result<()> {
    let Some((scope, name)) = new.scope.as_ref().zip(new.draft.name.as_deref()) else {
        return Ok(());
    };
    let Some(job) = jobs::find_named(&app.db, caller.workspace, scope, name).await? else {
        return Ok(());
    };
    let is_old = (clock::now() - job.created_at).num_seconds() >= CUT_OFF_SECS;
    if is_old && job.run.is_none() && schedules::of_job(app, job.id).await?.is_none() {
        cancel::delete(app, caller, job.id).await?;
    }
    Ok(())
}

/// The caller's job of this id.
pub async fn read(app: &App, caller: &Caller, id: JobId) -> Result<Ordered> {
    let status = status::read(app, caller, id).await?;
    Ok(Ordered { status, schedule: schedules::of_job(app, id).await? })
}

/// The caller's jobs of a scope that were made before this one, the newest first.
pub async fn list(
    app: &App,
    caller: &Caller,
    scope: &JobScope,
    before: Option<JobId>,
    limit: u32,
) -> Result<Vec<Ordered>> {
    let found = jobs::list_before(&app.db, caller.workspace, scope, before, limit.into()).await?;
    let ids: Vec<JobId> = found.iter().map(|job| job.id).collect();
    let mut by_job = schedules::of_jobs(app, &ids).await?;
    let each = |status: JobStatus| {
        let schedule = by_job.remove(&status.job.id);
        Ordered { status, schedule }
    };
    Ok(list::with_runs(app, caller, found).await?.into_iter().map(each).collect())
}

/// Deletes a job with its schedule, and cancels its runs that go on.
pub async fn remove(app: &App, caller: &Caller, id: JobId) -> Result<()> {
    status::find_job(app, caller, id).await?;
    if schedules::of_job(app, id).await?.is_some() {
        schedules::remove(app, caller, id).await?;
    }
    // No run is started while the lock is held, and none after the job is gone.
    let lock = app.coordinator.lock_job(id).await?;
    for run in runs::unfinished_of(&app.db, caller.workspace, id).await? {
        match app.coordinator.cancel_run(run, "its job was deleted".to_owned()).await {
            // It has ended meanwhile.
            Ok(()) | Err(crate::coordinator::Error::NoRun) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let deleted = jobs::delete_ended(&app.db, &lock, caller.workspace).await?;
    drop(lock);
    if deleted { Ok(()) } else { Err(Error::not_found("job", &id.to_string())) }
}
