//! States in this API's words.

use common::run::RunState;
use serde::Serialize;
use utoipa::ToSchema;

use crate::jobs::plans::executions::State;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(as = TorkJobState)]
pub enum JobState {
    Pending,
    Scheduled,
    Running,
    Cancelled,
    Completed,
    Failed,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(as = TorkTaskState)]
pub enum TaskState {
    /// It waits for a node.
    Scheduled,
    Running,
    Cancelled,
    Completed,
    Failed,
    Skipped,
}

impl From<RunState> for JobState {
    fn from(state: RunState) -> Self {
        match state {
            RunState::Scheduled => Self::Scheduled,
            RunState::Accepted => Self::Pending,
            RunState::Running => Self::Running,
            RunState::Ending | RunState::Cancelled => Self::Cancelled,
            RunState::Succeeded => Self::Completed,
            RunState::Failed => Self::Failed,
        }
    }
}

impl JobState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Scheduled => "SCHEDULED",
            Self::Running => "RUNNING",
            Self::Cancelled => "CANCELLED",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }
}

impl From<State> for TaskState {
    fn from(state: State) -> Self {
        match state {
            State::Waiting => Self::Scheduled,
            State::Running => Self::Running,
            State::Done => Self::Completed,
            State::Failed => Self::Failed,
            State::CutOff => Self::Cancelled,
            State::Skipped => Self::Skipped,
        }
    }
}
