//! Schedules of jobs: set, read, paused, resumed and removed. Their runs are made with the rights
//! of who has set them (`firing`).

pub mod firing;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use common::ids::JobId;
pub use common::market::{Skip, SkipCause};
use common::schedule::{Author, NotRules, Rules, Schedule, ScheduleState, When};

use super::Job;
use super::monitoring::status::find_job;
use super::resolve::resolve_as_it_is;
use crate::app::App;
use crate::clock;
use crate::error::{Error, Result};
use crate::people::caller::Caller;
use crate::store::jobs;
use crate::store::jobs::JobLock;
use crate::store::schedules;
use crate::store::schedules::skips;

/// The most schedules, or skips, of one page.
pub const LIST_MAX: u32 = 1_000;
/// The most nominal times of a preview.
pub const PREVIEW_MAX: u32 = 100;

/// A schedule and the job that it is of.
#[derive(Debug)]
pub struct JobSchedule {
    pub schedule: Schedule,
    /// The job's name, or what stands for it.
    pub name: String,
}

/// Sets when the caller's job of this id makes runs, in place of what was set before. Its runs are
/// made with the caller's rights. The job must be one that could be started now.
pub async fn set(app: &App, caller: &Caller, id: JobId, rules: Rules) -> Result<JobSchedule> {
    check(&rules)?;
    let job = find_job(app, caller, id).await?;
    resolve_as_it_is(app, caller, &job).await?;
    let lock = app.coordinator.lock_job(id).await?;
    // It may have been deleted meanwhile.
    let job = find_job(app, caller, job.id).await?;
    let before = schedules::find(&app.db, id).await?;
    let author = Author {
        workspace: caller.workspace,
        user: caller.user,
        key: caller.key,
        scopes: caller.made_with,
    };
    let schedule = Schedule::set(id, author, rules, before.as_ref(), clock::now());
    put(app, &job, lock, schedule).await
}

/// The schedule of the caller's job of this id.
pub async fn read(app: &App, caller: &Caller, id: JobId) -> Result<JobSchedule> {
    let job = find_job(app, caller, id).await?;
    let schedule = find(app, id).await?;
    Ok(JobSchedule { schedule, name: job.shown_name().into_owned() })
}

/// The schedule that a job has, if any.
pub async fn of_job(app: &App, id: JobId) -> Result<Option<Schedule>> {
    let found = schedules::find(&app.db, id).await?;
    Ok(found.filter(|schedule| schedule.state != ScheduleState::Removed))
}

/// The schedules that these jobs have.
pub(in crate::jobs) async fn of_jobs(app: &App, ids: &[JobId]) -> Result<HashMap<JobId, Schedule>> {
    let found = schedules::find_many(&app.db, ids).await?.into_iter();
    let kept = found.filter(|schedule| schedule.state != ScheduleState::Removed);
    Ok(kept.map(|schedule| (schedule.job, schedule)).collect())
}

/// The caller's schedules after that of a job, in the order in which the jobs were created.
pub async fn list(
    app: &App,
    caller: &Caller,
    after: Option<JobId>,
    limit: u32,
) -> Result<Vec<JobSchedule>> {
    let limit = limit.clamp(1, LIST_MAX).into();
    let found = schedules::list(&app.db, caller.workspace, after, limit).await?;
    let ids: Vec<JobId> = found.iter().map(|schedule| schedule.job).collect();
    let named = jobs::find_many(&app.db, caller.workspace, &ids).await?;
    let mut names: HashMap<JobId, String> =
        named.iter().map(|job| (job.id, job.shown_name().into_owned())).collect();
    let of_job = |schedule: Schedule| {
        let name = names.remove(&schedule.job).unwrap_or_default();
        JobSchedule { schedule, name }
    };
    Ok(found.into_iter().map(of_job).collect())
}

/// Keeps a schedule from making runs until it is resumed. One that is paused stays so.
pub async fn pause(app: &App, caller: &Caller, id: JobId) -> Result<JobSchedule> {
    change(app, caller, id, |schedule| match schedule.state {
        ScheduleState::Active => Ok(Some(schedule.paused())),
        ScheduleState::Paused => Ok(None),
        ScheduleState::Ended | ScheduleState::Removed => Err(ended()),
    })
    .await
}

/// Lets a schedule make runs again. Times that have passed meanwhile make none.
pub async fn resume(app: &App, caller: &Caller, id: JobId) -> Result<JobSchedule> {
    change(app, caller, id, |schedule| match schedule.state {
        ScheduleState::Active => Ok(None),
        ScheduleState::Paused => Ok(Some(schedule.resumed(clock::now()))),
        ScheduleState::Ended | ScheduleState::Removed => Err(ended()),
    })
    .await
}

/// Removes the schedule of the caller's job of this id. Runs that it has made go on.
pub async fn remove(app: &App, caller: &Caller, id: JobId) -> Result<()> {
    change(app, caller, id, |schedule| Ok(Some(schedule.removed()))).await.map(drop)
}

/// Removes the schedule that a job has, if any, because the job goes.
pub(super) async fn remove_with_job(app: &App, id: JobId) -> Result<()> {
    let lock = app.coordinator.lock_job(id).await?;
    if let Some(schedule) = of_job(app, id).await? {
        app.coordinator.put_schedule(schedule.removed(), lock).await?;
    }
    Ok(())
}

/// Nominal times of the caller's job of this id that made no run, before the one that begins at
/// `before`, newest first.
pub async fn skipped(
    app: &App,
    caller: &Caller,
    id: JobId,
    before: Option<DateTime<Utc>>,
    limit: u32,
) -> Result<Vec<Skip>> {
    find_job(app, caller, id).await?;
    Ok(skips::find(&app.db, id, before, limit.clamp(1, LIST_MAX).into()).await?)
}

/// The next nominal times of a schedule that would be set now.
pub fn preview(when: &When, n: u32) -> Result<Vec<DateTime<Utc>>> {
    check(&Rules::new(when.clone()))?;
    let n = n.clamp(1, PREVIEW_MAX) as usize;
    let first = when.first(clock::now());
    Ok(std::iter::successors(first, |at| when.next(*at)).take(n).collect())
}

fn check(rules: &Rules) -> Result<()> {
    let named = |wrong: NotRules| Error::field(wrong.field(), wrong.to_string());
    rules.check(clock::now()).map_err(named)
}

async fn change(
    app: &App,
    caller: &Caller,
    id: JobId,
    decide: impl FnOnce(Schedule) -> Result<Option<Schedule>>,
) -> Result<JobSchedule> {
    let lock = app.coordinator.lock_job(id).await?;
    let job = find_job(app, caller, id).await?;
    let schedule = find(app, id).await?;
    match decide(schedule.clone())? {
        Some(changed) => put(app, &job, lock, changed).await,
        None => Ok(JobSchedule { schedule, name: job.shown_name().into_owned() }),
    }
}

async fn put(app: &App, job: &Job, lock: JobLock, schedule: Schedule) -> Result<JobSchedule> {
    app.coordinator.put_schedule(schedule.clone(), lock).await?;
    let (state, revision, next) = (schedule.state.as_str(), schedule.revision, schedule.next);
    let next = next.map(tracing::field::display);
    tracing::info!(job = %job.id, state, revision, next, "schedule changed");
    Ok(JobSchedule { schedule, name: job.shown_name().into_owned() })
}

async fn find(app: &App, id: JobId) -> Result<Schedule> {
    let missing = || Error::not_found("the schedule of job", &id.to_string());
    of_job(app, id).await?.ok_or_else(missing)
}

fn ended() -> Error {
    Error::NotNow("this schedule has ended: set another one".to_owned())
}
