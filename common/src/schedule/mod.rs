//! Schedules: at which times a job makes runs, and what becomes of times that come while an
//! earlier run goes on, or that nobody could keep.
//!
//! The *nominal time* of a run is when it was due by its schedule, whenever it starts.

pub mod cron;
mod due;
#[cfg(test)]
mod tests;
pub mod when;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::access::Scopes;
use crate::ids::{ApiKeyId, JobId, UserId, WorkspaceId};
pub use due::{Due, RUN_ALL_MAX};
pub use when::When;

/// The most runs of a job that its schedule lets go on at once.
pub const ALLOW_MAX: u16 = 100;
/// The longest grace, in seconds.
pub const GRACE_SECS_MAX: u32 = 366 * 24 * 3600;
/// The longest jitter, in seconds.
pub const JITTER_SECS_MAX: u32 = 3600;

/// When a job makes runs, and by which rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    pub when: When,
    #[serde(default)]
    pub overlap: Overlap,
    #[serde(default)]
    pub missed: Missed,
    /// How late a run may start, where it is not the usual time.
    #[serde(default)]
    pub grace_secs: Option<u32>,
    /// Runs start up to so much later than their nominal time, so that not all start at once.
    #[serde(default)]
    pub jitter_secs: u32,
}

/// What becomes of a nominal time that comes while runs of the job go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It is skipped.
    #[default]
    Forbid,
    /// It makes a run where fewer than this many go on.
    Allow(u16),
    /// It makes a run, and those that go on are cancelled.
    Replace,
}

/// What becomes of nominal times that could not be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    Skip,
    /// The newest of them makes a run.
    #[default]
    RunOnce,
    /// The newest ten make a run each.
    RunAll,
}

/// Whether a schedule makes runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScheduleState {
    Active,
    Paused,
    /// It has no nominal time any more.
    Ended,
    /// Its customer has removed it. What it settled is remembered, so that none of it comes again.
    Removed,
}

/// Who has set a schedule. Its runs are made with these rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Author {
    pub workspace: WorkspaceId,
    pub user: UserId,
    /// What the schedule was set with, and its scopes then.
    pub key: ApiKeyId,
    pub scopes: Scopes,
}

/// The schedule of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub job: JobId,
    pub author: Author,
    pub rules: Rules,
    pub state: ScheduleState,
    /// Rises with each change of the rules or the state.
    pub revision: u32,
    /// The next nominal time, while it is active.
    pub next: Option<DateTime<Utc>>,
    /// The last nominal time that made a run or was skipped.
    pub last: Option<DateTime<Utc>>,
}

/// Why rules are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRules {
    #[error(transparent)]
    When(#[from] when::NotWhen),
    #[error("must be from 1 to {ALLOW_MAX}")]
    Allow,
    #[error("must be at most {GRACE_SECS_MAX}")]
    Grace,
    #[error("must be at most {JITTER_SECS_MAX}")]
    Jitter,
}

impl NotRules {
    /// Which of the rules is wrong.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::When(when::NotWhen::Every) => "every_secs",
            Self::When(when::NotWhen::Far) => "at",
            Self::When(when::NotWhen::Never) => "cron",
            Self::Allow => "max_runs",
            Self::Grace => "grace_secs",
            Self::Jitter => "jitter_secs",
        }
    }
}

impl Rules {
    /// Rules with the usual answers to all questions.
    pub fn new(when: When) -> Self {
        let (overlap, missed) = (Overlap::default(), Missed::default());
        Self { when, overlap, missed, grace_secs: None, jitter_secs: 0 }
    }

    /// Refuses what cannot be kept, as of `now`.
    pub fn check(&self, now: DateTime<Utc>) -> Result<(), NotRules> {
        self.when.check(now)?;
        if matches!(self.overlap, Overlap::Allow(n) if !(1..=ALLOW_MAX).contains(&n)) {
            return Err(NotRules::Allow);
        }
        if self.grace_secs.is_some_and(|secs| secs > GRACE_SECS_MAX) {
            return Err(NotRules::Grace);
        }
        if self.jitter_secs > JITTER_SECS_MAX {
            return Err(NotRules::Jitter);
        }
        Ok(())
    }
}

impl Schedule {
    /// A schedule that is set at `now`, in place of the one before.
    pub fn set(
        job: JobId,
        author: Author,
        rules: Rules,
        before: Option<&Self>,
        now: DateTime<Utc>,
    ) -> Self {
        let last = before.and_then(|before| before.last);
        let first = rules.when.first(now);
        let next = match last {
            // Its first time has been settled: it passed long ago, or the clock went back.
            Some(last) if first.is_some_and(|first| first <= last) => rules.when.next(last),
            _ => first,
        };
        let revision = before.map_or(1, |before| before.revision.saturating_add(1));
        let state = state_with(next);
        Self { job, author, rules, state, revision, next, last }
    }

    /// The same, without runs until it is resumed.
    #[must_use]
    pub fn paused(self) -> Self {
        let revision = self.revision.saturating_add(1);
        Self { state: ScheduleState::Paused, revision, next: None, ..self }
    }

    /// The same, removed.
    #[must_use]
    pub fn removed(self) -> Self {
        Self { state: ScheduleState::Removed, ..self.paused() }
    }

    /// The same, with runs from `now` on: times that have passed meanwhile make none.
    #[must_use]
    pub fn resumed(self, now: DateTime<Utc>) -> Self {
        let after = self.last.map_or(now, |last| last.max(now));
        let (next, revision) = (self.rules.when.next(after), self.revision.saturating_add(1));
        Self { state: state_with(next), revision, next, ..self }
    }

    /// The same, once its nominal times until `last` are settled.
    #[must_use]
    pub fn moved_on(self, last: DateTime<Utc>, next: Option<DateTime<Utc>>) -> Self {
        Self { state: state_with(next), next, last: Some(last), ..self }
    }
}

const fn state_with(next: Option<DateTime<Utc>>) -> ScheduleState {
    if next.is_some() { ScheduleState::Active } else { ScheduleState::Ended }
}

impl ScheduleState {
    pub const ALL: [Self; 4] = [Self::Active, Self::Paused, Self::Ended, Self::Removed];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Ended => "ended",
            Self::Removed => "removed",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}
