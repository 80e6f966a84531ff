//! The states of a run.

pub mod callback;
pub mod cause;
pub mod milestone;
pub mod queue;
pub mod scheduling;
pub mod spec;
pub mod task;
pub mod told;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::plan::Phase;

/// What a run is doing. The order is the order of a run's life; `Failed` can follow any of those
/// before `Succeeded`, `Cancelled` only `Ending`. A run that failed or was cancelled can go on, when
/// it is taken up again.
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

    /// When a run that is in this state ended, or was cancelled; `None` where it goes on. It may
    /// have ended before, and have been taken up again.
    pub fn ended(&self, state: RunState) -> Option<DateTime<Utc>> {
        match state {
            RunState::Scheduled | RunState::Accepted | RunState::Running => None,
            RunState::Succeeded | RunState::Failed => self.of(state),
            RunState::Ending | RunState::Cancelled => {
                self.of(RunState::Ending).or_else(|| self.of(RunState::Cancelled))
            }
        }
    }
}
