//! Why a run or an attempt ended without success.

use common::protocol::Failure;
use common::run::cause::{Cause, CauseKind};
use serde::Serialize;
use utoipa::ToSchema;

use crate::jobs::monitoring::tasks::Attempt;

/// Why a run ended without success.
#[derive(Serialize, ToSchema)]
#[schema(as = RunCause)]
pub struct RunCauseOut {
    kind: RunCauseKind,
    /// What happened, and what to do about it.
    message: String,
}

/// What kind of cause ended a run: `cancelled` by a member of its workspace, `task_failed` as often
/// as the job allows, `task_lost` by nodes too often, `timeout` of the job, `queue_timeout` of its queue, `credits` that the
/// wallet does not have, `storage` of which the workspace may use no more, a `source` that cannot
/// be read, a `destination` that does not take the results, a `part` of it that failed, a `plan`
/// that cannot be followed, and a failure of the `server`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum RunCauseKind {
    Cancelled,
    TaskFailed,
    TaskLost,
    Timeout,
    QueueTimeout,
    Credits,
    Storage,
    Source,
    Destination,
    Part,
    Plan,
    Server,
}

/// Why an attempt ended without a result.
#[derive(Serialize, ToSchema)]
#[schema(as = AttemptCause)]
pub struct AttemptCauseOut {
    kind: AttemptCauseKind,
    /// What happened.
    message: String,
    /// Where the container ended by itself.
    exit_code: Option<i64>,
}

/// What kind of cause ended an attempt: the container's `exit_code`, the task's `timeout`, too
/// little memory (`out_of_memory`), `results` that cannot be taken, a `package` or an image that
/// cannot be run, a `registry` that does not give the image, `input` that cannot be read, a
/// `source` that gives nothing, a failure of the `server`, a container that was `killed` from
/// outside, `damaged` bytes of the package, and everything else as `lost`: its node failed, or its
/// run ended before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AttemptCauseKind {
    ExitCode,
    Timeout,
    OutOfMemory,
    Results,
    Package,
    Registry,
    Input,
    Source,
    Server,
    Killed,
    Damaged,
    Lost,
}

impl From<&Cause> for RunCauseOut {
    fn from(Cause { kind, message }: &Cause) -> Self {
        let kind = match kind {
            CauseKind::Cancelled => RunCauseKind::Cancelled,
            CauseKind::TaskFailed => RunCauseKind::TaskFailed,
            CauseKind::TaskLost => RunCauseKind::TaskLost,
            CauseKind::Timeout => RunCauseKind::Timeout,
            CauseKind::QueueTimeout => RunCauseKind::QueueTimeout,
            CauseKind::Credits => RunCauseKind::Credits,
            CauseKind::Storage => RunCauseKind::Storage,
            CauseKind::Source => RunCauseKind::Source,
            CauseKind::Destination => RunCauseKind::Destination,
            CauseKind::Part => RunCauseKind::Part,
            CauseKind::Plan => RunCauseKind::Plan,
            CauseKind::Server => RunCauseKind::Server,
        };
        Self { kind, message: message.clone() }
    }
}

impl AttemptCauseOut {
    /// `None` for an attempt that has not failed.
    pub fn of(attempt: &Attempt) -> Option<Self> {
        let message = attempt.error.clone()?;
        let failure = attempt.head.and_then(|head| head.failure);
        let exit_code = attempt.head.and_then(|head| head.exit_code);
        Some(Self { kind: failure.map_or(AttemptCauseKind::Lost, kind), message, exit_code })
    }
}

const fn kind(failure: Failure) -> AttemptCauseKind {
    match failure {
        Failure::ExitCode(_) => AttemptCauseKind::ExitCode,
        Failure::Timeout => AttemptCauseKind::Timeout,
        Failure::OutOfMemory => AttemptCauseKind::OutOfMemory,
        Failure::Results => AttemptCauseKind::Results,
        Failure::Package => AttemptCauseKind::Package,
        Failure::Registry => AttemptCauseKind::Registry,
        Failure::Input => AttemptCauseKind::Input,
        Failure::Source => AttemptCauseKind::Source,
        Failure::Platform => AttemptCauseKind::Server,
        Failure::Killed => AttemptCauseKind::Killed,
        Failure::Damaged => AttemptCauseKind::Damaged,
    }
}
