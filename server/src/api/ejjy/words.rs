//! The states and triggers of runs, in this API's words.

use common::run::RunState;
use common::run::spec::Origin;
use serde::Serialize;
use utoipa::ToSchema;

use crate::jobs::RunView;
use crate::jobs::containers::MainContainer;

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EjjyRunStatus)]
pub enum Status {
    Pending,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// Why a run was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EjjyTrigger)]
pub enum Trigger {
    Manual,
    Schedule,
}

impl Status {
    /// The status of a run whose main container is so far.
    pub fn of(run: &RunView, main: MainContainer) -> Self {
        match run.state {
            RunState::Scheduled | RunState::Accepted => Self::Pending,
            RunState::Running if main.has_begun => Self::Running,
            RunState::Running => Self::Pending,
            RunState::Ending => Self::Running,
            RunState::Succeeded => Self::Succeeded,
            RunState::Failed => Self::Failed,
            RunState::Cancelled => Self::Cancelled,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing follows it.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl From<Origin> for Trigger {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Schedule(_) => Self::Schedule,
            Origin::Manual | Origin::Part(_) | Origin::Callback(_) | Origin::Detached(_) => {
                Self::Manual
            }
        }
    }
}
