//! Schedules in memory: when each is due next, and nothing else. What a schedule says is read when
//! it is due.

mod fired;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Market;
use crate::ids::{JobId, RunId};
use crate::schedule::{Schedule, ScheduleState};

/// An active schedule, as it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    pub job: JobId,
    pub revision: u32,
    /// Its next nominal time.
    pub at: DateTime<Utc>,
    /// When the run of this time starts.
    pub due: DateTime<Utc>,
}

/// A schedule that is due: its job is to be resolved, and [`Market::fired`] to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fire {
    pub job: JobId,
    pub revision: u32,
    pub at: DateTime<Utc>,
}

/// Nominal times that made no run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    pub job: JobId,
    /// The first and the last of them.
    pub first: DateTime<Utc>,
    pub last: DateTime<Utc>,
    pub why: SkipCause,
    /// When that was decided.
    pub at: DateTime<Utc>,
}

/// Why nominal times made no run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipCause {
    /// They came while the server was away, or was too late for them.
    Missed,
    /// Runs of the job went on.
    Overlap,
    /// The job cannot be run as it is.
    Job(String),
}

impl SkipCause {
    /// The name under which it is stored.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Overlap => "overlap",
            Self::Job(_) => "job",
        }
    }
}

/// The active schedules.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    active: BTreeMap<JobId, Active>,
    /// Those that have not been told to be due.
    due: BTreeSet<(DateTime<Utc>, JobId)>,
}

#[derive(Debug, Clone, Copy)]
struct Active {
    revision: u32,
    at: DateTime<Utc>,
    due: DateTime<Utc>,
}

impl Schedules {
    pub fn load(planned: Vec<Planned>) -> Self {
        let due = planned.iter().map(|schedule| (schedule.due, schedule.job)).collect();
        let active = planned
            .into_iter()
            .map(|Planned { job, revision, at, due }| (job, Active { revision, at, due }))
            .collect();
        Self { active, due }
    }

    /// What a restart finds again.
    #[cfg(any(test, feature = "testing"))]
    pub fn active(&self) -> impl std::fmt::Debug {
        &self.active
    }

    fn plan(&mut self, schedule: &Schedule) {
        self.forget(schedule.job);
        let times = schedule.next.zip(schedule.due_at());
        if let Some((at, due)) = times.filter(|_| schedule.state == ScheduleState::Active) {
            self.active.insert(schedule.job, Active { revision: schedule.revision, at, due });
            self.due.insert((due, schedule.job));
        }
    }

    fn forget(&mut self, job: JobId) {
        if let Some(before) = self.active.remove(&job) {
            self.due.remove(&(before.due, job));
        }
    }
}

impl Market {
    /// When a schedule is due next, or a call that nothing but time stops.
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        let schedule = self.schedules.due.first().map(|(due, _)| *due);
        schedule.into_iter().chain(self.next_call_due()).min()
    }

    /// Takes a schedule as it is from now on. Runs that it has made go on.
    pub fn put_schedule(&mut self, schedule: Schedule) {
        self.schedules.plan(&schedule);
        self.outbox.changes.schedules.insert(schedule.job, schedule);
    }

    /// Tells of the schedules that are due, each once; of this many at most, the longest due first.
    pub fn fire_due(&mut self, most: usize, now: DateTime<Utc>) {
        for _ in 0..most {
            let Some((due, job)) = self.schedules.due.first().copied() else { return };
            if due > now {
                return;
            }
            self.schedules.due.pop_first();
            let Some(Active { revision, at, .. }) = self.schedules.active.get(&job).copied() else {
                continue;
            };
            self.outbox.changes.fires.push(Fire { job, revision, at });
        }
    }

    /// Notes whose run a run is, until it has ended.
    pub(in crate::market) fn note_job(&mut self, id: RunId) {
        if let Some(run) = self.runs.get(&id).filter(|run| run.spec.is_whole()) {
            self.of_jobs.insert((run.spec.job, id));
        }
    }

    /// The runs of a job that have not ended. Runs that other runs have started do not count.
    pub(in crate::market) fn runs_of(&self, job: JobId) -> impl Iterator<Item = RunId> {
        let (first, last) = (RunId::new(Uuid::nil()), RunId::new(Uuid::max()));
        self.of_jobs.range((job, first)..=(job, last)).map(|(_, run)| *run)
    }

    /// Compares what is known of jobs and schedules with what there is.
    pub(super) fn check_jobs(&self) -> Result<(), String> {
        let going = self.runs.values().map(|run| (run.id, &*run.spec));
        let stopping = self.stopping.iter().map(|(id, stopping)| (*id, stopping.spec()));
        let whole = going.chain(stopping).filter(|(_, spec)| spec.is_whole());
        let of_jobs: BTreeSet<_> = whole.map(|(id, spec)| (spec.job, id)).collect();
        if of_jobs != self.of_jobs {
            return Err(format!("runs of jobs are {of_jobs:?}, noted {:?}", self.of_jobs));
        }
        let Schedules { active, due } = &self.schedules;
        let is_known = |(at, job): &(DateTime<Utc>, JobId)| {
            active.get(job).is_some_and(|known| known.due == *at)
        };
        if !due.iter().all(is_known) {
            return Err(format!("due are {due:?}, active {active:?}"));
        }
        Ok(())
    }
}
