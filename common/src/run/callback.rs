//! Callbacks: requests that tell a receiver how a run goes on: that it has begun, and how it has
//! ended.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::RunState;
use super::told::ToldRun;
use crate::call::CallTask;
use crate::expression::Template;
use crate::plan::{Block, Body, Plan, PlanError};

/// The most callbacks of a run.
pub const CALLBACKS_MAX: usize = 8;

/// A receiver of what becomes of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Callback {
    /// What it is told of.
    pub on: BTreeSet<RunEvent>,
    /// It is told nothing where this gives the text `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Template>,
    /// The request without a body, which is the event, unless a late text says otherwise.
    pub task: CallTask,
}

/// What becomes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEvent {
    /// Something of it is worked on.
    Running,
    /// One of its outermost blocks has ended.
    Progress,
    /// A block that is opened once is worked on, or has ended.
    Block,
    Succeeded,
    Failed,
    Cancelled,
}

impl RunEvent {
    pub const ALL: [Self; 6] = [
        Self::Running,
        Self::Progress,
        Self::Block,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];
    /// The states of a run that are told.
    pub const STATES: [Self; 4] = [Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];
    /// How a run can end.
    pub const ENDS: [Self; 3] = [Self::Succeeded, Self::Failed, Self::Cancelled];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Progress => "progress",
            Self::Block => "block",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == name)
    }

    /// The end that a state is, where it is one.
    pub const fn of_end(state: RunState) -> Option<Self> {
        match state {
            RunState::Succeeded => Some(Self::Succeeded),
            RunState::Failed => Some(Self::Failed),
            RunState::Cancelled => Some(Self::Cancelled),
            RunState::Scheduled | RunState::Accepted | RunState::Running | RunState::Ending => None,
        }
    }

    /// The state in which the run is.
    pub(super) const fn state(self) -> &'static str {
        match self {
            Self::Running | Self::Progress | Self::Block => "running",
            Self::Succeeded | Self::Failed | Self::Cancelled => self.as_str(),
        }
    }
}

/// What has become of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockState {
    Running,
    Succeeded,
    /// Its condition was false.
    Skipped,
    Failed,
    /// Its run has ended before it.
    Cancelled,
}

impl BlockState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Callback {
    /// What tells the receiver: a plan of one call, which reads what [`ToldRun::scope`] gives.
    pub fn plan(&self, told: &ToldRun<'_>) -> Plan {
        let mut task = self.task.clone();
        task.call.body = Some(told.body());
        self.plan_of(task).expect("one block with a call that was checked is a plan")
    }

    /// # Errors
    /// It reads what no receiver is told.
    pub fn plan_of(&self, task: CallTask) -> Result<Plan, PlanError> {
        let body = Body::Call(Box::new(task));
        Plan::new(vec![Block { when: self.when.clone(), ..Block::new("callback", body) }])
    }
}
