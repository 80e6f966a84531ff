//! The states of a run.

pub mod callback;
pub mod cause;
pub mod milestone;
pub mod queue;
pub mod scheduling;
pub mod spec;
pub mod task;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::plan::Phase;

/// What a run is doing. The order is the order of a run's life; `Failed` can follow any of those
/// before `Succeeded`, `Cancelled` only `Ending`. A run that failed can be `Running` again, when
/// its results are delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Accepted, and its work begins later.
    Scheduled,
    /// Everything is pinned and the credits are held.
    Accepted,
    /// Its tasks or steps are worked on.
    Running,
    /// It has been cancelled, and nodes still have to stop what they run of it.
    Ending,
    Succeeded,
    Failed,
    /// It was cancelled, and no node works on it any more.
    Cancelled,
}

impl RunState {
    pub const ALL: [Self; 7] = [
        Self::Scheduled,
        Self::Accepted,
        Self::Running,
        Self::Ending,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Accepted => "accepted",
            Self::Running => "running",
            Self::Ending => "ending",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Nothing follows this state by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// When a run entered its states, and began its phases.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    pub states: BTreeMap<RunState, DateTime<Utc>>,
    pub phases: BTreeMap<Phase, DateTime<Utc>>,
}

impl Times {
    pub fn of(&self, state: RunState) -> Option<DateTime<Utc>> {
        self.states.get(&state).copied()
    }

    pub fn of_phase(&self, phase: Phase) -> Option<DateTime<Utc>> {
        self.phases.get(&phase).copied()
    }

    /// When its work began: a run may have waited for a time that its customer chose.
    pub fn began(&self) -> Option<DateTime<Utc>> {
        self.of(RunState::Accepted)
    }

    /// When it ended.
    pub fn ended(&self) -> Option<DateTime<Utc>> {
        [RunState::Succeeded, RunState::Failed, RunState::Cancelled]
            .into_iter()
            .find_map(|state| self.of(state))
    }

    /// When its hold was first given back and its line of the statement was written. A run that
    /// failed and is delivered again stays settled.
    pub fn settled(&self) -> Option<DateTime<Utc>> {
        let settles = |state: &RunState| state.is_final() || *state == RunState::Ending;
        self.states.iter().filter(|(state, _)| settles(state)).map(|(_, at)| *at).min()
    }
}
