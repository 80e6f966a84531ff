//! The closed sets of words of this API.

use common::market;
use common::plan::Phase;
use common::protocol::{Level, Stream};
use common::run::RunState;
use common::run::spec::Origin;
use serde::Serialize;
use utoipa::ToSchema;

use crate::jobs::JobKind;
use crate::jobs::monitoring::status::JobState;
use crate::jobs::monitoring::tasks::TaskState;
use crate::jobs::runs::stages::StageKind;

/// How far a job is: `new` is a draft, and the others are the states of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = State)]
pub enum StateOut {
    New,
    Scheduled,
    Accepted,
    Running,
    Ending,
    Succeeded,
    Failed,
    Cancelled,
}

/// The words of states, by the numbers that lists are filtered by.
pub const STATES: [&str; 8] =
    ["new", "scheduled", "accepted", "running", "ending", "succeeded", "failed", "cancelled"];

/// A part of a template's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Phase)]
pub enum PhaseOut {
    Fetch,
    Partition,
    Process,
    Assemble,
    Deliver,
}

/// What a stage does: a `group` has several stages, a `list` the same for each element of a list,
/// a `run` waits for another run, a `container` works on nodes, and `data` is the server's own work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = StageKind)]
pub enum StageKindOut {
    Group,
    List,
    Run,
    Container,
    Data,
    /// An HTTP request that the server makes.
    Call,
}

/// How far a stage is: one that is `skipped` had a condition that was false, one that is `cut_off`
/// was open when its run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = StageState)]
pub enum StageStateOut {
    Open,
    Done,
    Skipped,
    CutOff,
}

/// How far a task or an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AttemptState)]
pub enum TaskStateOut {
    Waiting,
    Assigned,
    Received,
    Running,
    Done,
    Failed,
}

/// What a line is: what a `container` wrote, a node's steps (`debug`), what a node did (`info`), and
/// why an attempt failed (`error`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LineLevel)]
pub enum LevelOut {
    Container,
    Debug,
    Info,
    Error,
}

/// Where a line comes from: a container's standard output (`out`) or error (`err`), or the node
/// itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Stream)]
pub enum StreamOut {
    Out,
    Err,
    Node,
}

impl From<Stream> for StreamOut {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Out => Self::Out,
            Stream::Err => Self::Err,
            Stream::Node => Self::Node,
        }
    }
}

/// Why a run was started: somebody asked for it, its job's schedule did, it is a part of another
/// run, tells how another one has ended, or was started by another one that does not wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Origin)]
pub enum OriginOut {
    Manual,
    Schedule,
    Part,
    Callback,
    Detached,
}

impl From<Origin> for OriginOut {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Manual => Self::Manual,
            Origin::Schedule(_) => Self::Schedule,
            Origin::Part(_) => Self::Part,
            Origin::Callback(_) => Self::Callback,
            Origin::Detached(_) => Self::Detached,
        }
    }
}

/// The kinds of jobs, in the order of `JobKind::ALL`.
pub const KINDS: [&str; JobKind::ALL.len()] = ["template", "call", "container", "plan"];

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = JobKind)]
pub enum JobKindOut {
    Template,
    Call,
    Container,
    Plan,
}

impl From<JobKind> for JobKindOut {
    fn from(kind: JobKind) -> Self {
        match kind {
            JobKind::Template => Self::Template,
            JobKind::Call => Self::Call,
            JobKind::Container => Self::Container,
            JobKind::Plan => Self::Plan,
        }
    }
}

impl From<RunState> for StateOut {
    fn from(state: RunState) -> Self {
        match state {
            RunState::Scheduled => Self::Scheduled,
            RunState::Accepted => Self::Accepted,
            RunState::Running => Self::Running,
            RunState::Ending => Self::Ending,
            RunState::Succeeded => Self::Succeeded,
            RunState::Failed => Self::Failed,
            RunState::Cancelled => Self::Cancelled,
        }
    }
}

impl From<JobState> for StateOut {
    fn from(state: JobState) -> Self {
        state.run.map_or(Self::New, Self::from)
    }
}

impl From<Phase> for PhaseOut {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Fetch => Self::Fetch,
            Phase::Partition => Self::Partition,
            Phase::Process => Self::Process,
            Phase::Assemble => Self::Assemble,
            Phase::Deliver => Self::Deliver,
        }
    }
}

impl From<StageKind> for StageKindOut {
    fn from(kind: StageKind) -> Self {
        match kind {
            StageKind::Group => Self::Group,
            StageKind::List => Self::List,
            StageKind::Run => Self::Run,
            StageKind::Container => Self::Container,
            StageKind::Data => Self::Data,
            StageKind::Call => Self::Call,
        }
    }
}

impl From<TaskState> for TaskStateOut {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Waiting => Self::Waiting,
            TaskState::Assigned => Self::Assigned,
            TaskState::Received => Self::Received,
            TaskState::Running => Self::Running,
            TaskState::Done => Self::Done,
            TaskState::Failed => Self::Failed,
        }
    }
}

/// A task of which no more is known.
impl From<market::TaskState> for TaskStateOut {
    fn from(state: market::TaskState) -> Self {
        match state {
            market::TaskState::Waiting => Self::Waiting,
            market::TaskState::Leased => Self::Assigned,
            market::TaskState::Done => Self::Done,
            market::TaskState::Failed => Self::Failed,
        }
    }
}

impl From<Level> for LevelOut {
    fn from(level: Level) -> Self {
        match level {
            Level::Unknown => Self::Container,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Error => Self::Error,
        }
    }
}
