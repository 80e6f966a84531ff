//! The states of jobs, in this API's words.

use common::protocol::Failure;
use common::run::RunState;
use common::run::cause::{Cause, CauseKind};
use serde::Serialize;
use utoipa::ToSchema;

use crate::jobs::RunView;
use crate::jobs::containers::MainContainer;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DaestroJobState)]
pub enum State {
    /// Its queue looks at nothing: it is paused or disabled.
    Submitted,
    /// It waits for its `schedule_at`.
    Pending,
    Runnable,
    Starting,
    Running,
    Cancelling,
    Cancelled,
    Timeout,
    Completed,
    Failed,
    Error,
}

impl State {
    /// The state of a job with this run, whose main container is so far. `is_open` is whether its
    /// queue hands out.
    pub fn of(run: Option<&RunView>, main: MainContainer, is_open: bool) -> Self {
        let Some(run) = run else { return Self::Submitted };
        match run.state {
            RunState::Scheduled => Self::Pending,
            RunState::Accepted if is_open => Self::Runnable,
            RunState::Accepted => Self::Submitted,
            RunState::Running if main.has_begun => Self::Running,
            RunState::Running => Self::Starting,
            RunState::Ending => Self::Cancelling,
            RunState::Succeeded => Self::Completed,
            RunState::Failed => ended(run.cause.as_ref(), main.failure),
            RunState::Cancelled => Self::Cancelled,
        }
    }

    /// Whether nothing follows it.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Cancelled | Self::Timeout | Self::Completed | Self::Failed | Self::Error => true,
            Self::Submitted
            | Self::Pending
            | Self::Runnable
            | Self::Starting
            | Self::Running
            | Self::Cancelling => false,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Pending => "pending",
            Self::Runnable => "runnable",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Timeout => "timeout",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Error => "error",
        }
    }
}

/// The state of a run that did not succeed: whether its container failed, or what should run it.
fn ended(cause: Option<&Cause>, failure: Option<Failure>) -> State {
    match cause.map(|cause| cause.kind) {
        Some(CauseKind::TaskFailed) => failure.map_or(State::Error, of_failure),
        Some(CauseKind::Timeout) => State::Timeout,
        Some(CauseKind::Cancelled) => State::Cancelled,
        Some(
            CauseKind::TaskLost
            | CauseKind::QueueTimeout
            | CauseKind::Credits
            | CauseKind::Storage
            | CauseKind::Source
            | CauseKind::Destination
            | CauseKind::Part
            | CauseKind::Plan
            | CauseKind::Server,
        )
        | None => State::Error,
    }
}

const fn of_failure(failure: Failure) -> State {
    match failure {
        Failure::Timeout => State::Timeout,
        Failure::ExitCode(_) | Failure::OutOfMemory | Failure::Results | Failure::Killed => {
            State::Failed
        }
        Failure::Package
        | Failure::Registry
        | Failure::Input
        | Failure::Source
        | Failure::Platform
        | Failure::Damaged => State::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_without_success_are_told_apart() {
        let cause = |kind| Cause::new(kind, "why");
        for (kind, failure, expected) in [
            (CauseKind::TaskFailed, Some(Failure::ExitCode(1)), State::Failed),
            (CauseKind::TaskFailed, Some(Failure::Timeout), State::Timeout),
            (CauseKind::TaskFailed, Some(Failure::Registry), State::Error),
            (CauseKind::TaskFailed, None, State::Error),
            (CauseKind::Timeout, None, State::Timeout),
            (CauseKind::QueueTimeout, None, State::Error),
            (CauseKind::Credits, None, State::Error),
        ] {
            assert_eq!(ended(Some(&cause(kind)), failure), expected, "{kind:?} {failure:?}");
        }
    }
}
