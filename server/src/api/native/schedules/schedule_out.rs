//! A schedule as it is shown, and what it skipped.

use chrono::{DateTime, Utc};
use common::ids::JobId;
use common::schedule::{Missed, Overlap, ScheduleState, When};
use serde::Serialize;
use utoipa::ToSchema;

use crate::jobs::schedules::{JobSchedule, Skip, SkipCause};

/// When a job makes runs by itself. One of `cron`, `every_secs` and `at` is not null.
#[derive(Serialize, ToSchema)]
#[schema(as = Schedule)]
pub struct ScheduleOut {
    #[schema(value_type = String)]
    job: JobId,
    /// The job's name.
    name: String,
    state: ScheduleStateOut,
    /// A pattern of five fields, as it was given.
    cron: Option<String>,
    /// Of `cron`.
    time_zone: Option<&'static str>,
    /// The time between two nominal times, in seconds.
    every_secs: Option<u32>,
    /// The first time of `every_secs`.
    from: Option<DateTime<Utc>>,
    /// The only nominal time.
    at: Option<DateTime<Utc>>,
    /// Whether a nominal time makes a run while others of the job go on.
    overlap: OverlapOut,
    /// With overlap `allow`: at most so many runs at once.
    max_runs: Option<u16>,
    /// What becomes of nominal times that could not be kept.
    missed: MissedOut,
    /// How late a run may start; null is the usual time.
    grace_secs: Option<u32>,
    /// Runs start up to so much later than their nominal time.
    jitter_secs: u32,
    /// The next nominal time; null while it is paused, or where there is none.
    next_at: Option<DateTime<Utc>>,
    /// The last nominal time that made a run or was skipped.
    last_at: Option<DateTime<Utc>>,
}

/// Nominal times that made no run.
#[derive(Serialize, ToSchema)]
#[schema(as = Skip)]
pub struct SkipOut {
    /// The first of them.
    first: DateTime<Utc>,
    /// The last of them.
    last: DateTime<Utc>,
    cause: SkipCauseOut,
    /// With the cause `job`: what is wrong with it.
    message: Option<String>,
    /// When that was decided.
    at: DateTime<Utc>,
}

/// Whether a schedule makes runs. One that has `ended` has no nominal time any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ScheduleState)]
enum ScheduleStateOut {
    Active,
    Paused,
    Ended,
}

/// What becomes of a nominal time while runs of the job go on: `forbid` skips it, `allow` makes a
/// run where fewer than `max_runs` go on, and `replace` cancels those that go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Overlap)]
enum OverlapOut {
    Forbid,
    Allow,
    Replace,
}

pub const OVERLAPS: [&str; 3] = ["forbid", "allow", "replace"];

/// What becomes of nominal times that could not be kept: `skip` makes no run, `run_once` one for
/// the newest of them, and `run_all` one for each of the newest ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Missed)]
enum MissedOut {
    Skip,
    RunOnce,
    RunAll,
}

pub const MISSED: [&str; 3] = ["skip", "run_once", "run_all"];

/// Why nominal times made no run: they were `missed`, runs of the job went on (`overlap`), or the
/// `job` cannot be run as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SkipCause)]
enum SkipCauseOut {
    Missed,
    Overlap,
    Job,
}

impl From<JobSchedule> for ScheduleOut {
    fn from(JobSchedule { schedule, name }: JobSchedule) -> Self {
        let rules = schedule.rules;
        let (overlap, max_runs) = match rules.overlap {
            Overlap::Forbid => (OverlapOut::Forbid, None),
            Overlap::Allow(runs) => (OverlapOut::Allow, Some(runs)),
            Overlap::Replace => (OverlapOut::Replace, None),
        };
        let shown = Self {
            job: schedule.job,
            name,
            state: schedule.state.into(),
            cron: None,
            time_zone: None,
            every_secs: None,
            from: None,
            at: None,
            overlap,
            max_runs,
            missed: rules.missed.into(),
            grace_secs: rules.grace_secs,
            jitter_secs: rules.jitter_secs,
            next_at: schedule.next,
            last_at: schedule.last,
        };
        match rules.when {
            When::Once(at) => Self { at: Some(at), ..shown },
            When::Every { secs, from } => {
                Self { every_secs: Some(secs), from: Some(from), ..shown }
            }
            When::Cron(cron) => {
                let (text, zone) = (cron.text().to_owned(), cron.zone());
                Self { cron: Some(text), time_zone: Some(zone), ..shown }
            }
        }
    }
}

impl From<Skip> for SkipOut {
    fn from(skip: Skip) -> Self {
        let (cause, message) = match skip.why {
            SkipCause::Missed => (SkipCauseOut::Missed, None),
            SkipCause::Overlap => (SkipCauseOut::Overlap, None),
            SkipCause::Job(message) => (SkipCauseOut::Job, Some(message)),
        };
        Self { first: skip.first, last: skip.last, cause, message, at: skip.at }
    }
}

impl From<ScheduleState> for ScheduleStateOut {
    fn from(state: ScheduleState) -> Self {
        match state {
            ScheduleState::Active => Self::Active,
            ScheduleState::Paused => Self::Paused,
            // One that is removed is not shown.
            ScheduleState::Ended | ScheduleState::Removed => Self::Ended,
        }
    }
}

impl From<Missed> for MissedOut {
    fn from(missed: Missed) -> Self {
        match missed {
            Missed::Skip => Self::Skip,
            Missed::RunOnce => Self::RunOnce,
            Missed::RunAll => Self::RunAll,
        }
    }
}
