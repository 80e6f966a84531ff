//! What a change of the market leaves behind: rows to store, then things to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Market;
use super::figures::Receipts;
use super::run::Counts;
use super::schedules::{Fire, Skip};
use super::stage::StageRecord;
use super::stage::frozen::Resolution;
use super::stage::values::ValueRecord;
use super::trust::OperatorRecord;
use crate::call::Answer;
use crate::compute::device::Device;
use crate::compute::resources::Usage;
use crate::data::chunk_table::ChunkTable;
use crate::ids::{JobId, NodeId, RunId, WorkspaceId};
use crate::money::credits::Credits;
use crate::money::ledger::{Account, Transfer};
use crate::money::spend_cap::SpendCap;
use crate::money::statement::Line;
use crate::plan::{BlockId, Phase};
use crate::protocol::{Sample, SignedReceipt};
use crate::run::cause::Cause;
use crate::run::spec::{Origin, RunSpec};
use crate::run::task::{Lease, StageNo, TaskRef};
use crate::run::{RunState, Times};
use crate::schedule::Schedule;

/// The error of a task that its run's end has cut off.
pub const RUN_ENDED: &str = "the run ended before this task";

/// Everything to be stored in one transaction, and then to be done.
#[derive(Debug, Default)]
pub struct Changes {
    /// Runs as they stand now; those in `new_runs` for the first time.
    pub runs: Vec<RunRecord>,
    pub new_runs: BTreeSet<RunId>,
    /// Stages as they stand now; those that have ended for the last time.
    pub stages: Vec<StageRecord>,
    /// Runs that end because what is stored of them cannot be read.
    pub set_aside: Vec<SetAside>,
    /// Tasks as they stand now.
    pub tasks: Vec<TaskRecord>,
    /// What data blocks have found or cut.
    pub tables: Vec<(RunId, BlockId, Arc<ChunkTable>)>,
    /// What expressions have decided of stages.
    pub resolutions: Vec<(RunId, StageNo, Arc<Resolution>)>,
    /// What blocks have given.
    pub values: Vec<ValueRecord>,
    pub transfers: Vec<Transfer>,
    /// What the transfers add to each account, in 1e-8 credits; below zero for what they take.
    pub balances: BTreeMap<Account, i64>,
    pub lines: Vec<Line>,
    /// Spend caps of projects as they stand now; `None` for one that was taken away.
    pub caps: BTreeMap<(WorkspaceId, String), Option<SpendCap>>,
    /// What attempts of calls gave that have ended.
    pub call_answers: Vec<AnswerRecord>,
    /// What running attempts used.
    pub samples: Vec<Sample>,
    /// Attempts that have ended and after which their task goes on with another.
    pub attempts: Vec<TaskRecord>,
    /// Attempts that ended their run, and after which their task goes on with it. They have been told
    /// of before.
    pub reopened: Vec<TaskRecord>,
    /// What nodes say of their machines, where it is news.
    pub devices: BTreeMap<NodeId, Device>,
    /// How many leases nodes may have at once, where that has changed.
    pub windows: BTreeMap<NodeId, u32>,
    /// What nodes have done since the last drain.
    pub tallies: BTreeMap<NodeId, Tally>,
    /// What operators have shown, where that has changed.
    pub operators: BTreeMap<WorkspaceId, OperatorRecord>,
    /// Schedules as they stand now.
    pub schedules: BTreeMap<JobId, Schedule>,
    /// Nominal times that made no run.
    pub skips: Vec<Skip>,
    /// The newest run that the schedule of a job has made.
    pub fired: BTreeMap<JobId, RunId>,

    /// Receipts that have been settled.
    pub receipts: Receipts,
    /// Runs of which nothing more is to be begun, in the states that they have now.
    pub ended: Vec<Ended>,
    /// Stages whose work the server has to begin.
    pub steps: Vec<(RunId, StageNo)>,
    /// Stages whose expressions are to be evaluated.
    pub questions: Vec<(RunId, StageNo)>,
    /// Attempts of calls that the server has to begin.
    pub calls: Vec<Lease>,
    /// Schedules that are due.
    pub fires: Vec<Fire>,
    pub notices: Vec<Notice>,
    pub leases: Vec<LeaseChange>,
    /// How far the changed runs are.
    pub progress: Vec<(RunId, Progress)>,
}

impl Changes {
    /// Nothing of it has to be stored.
    pub fn is_volatile(&self) -> bool {
        self.runs.is_empty()
            && self.tasks.is_empty()
            && self.transfers.is_empty()
            && self.call_answers.is_empty()
            && self.samples.is_empty()
            && self.attempts.is_empty()
            && self.reopened.is_empty()
            && self.devices.is_empty()
            && self.windows.is_empty()
            && self.operators.is_empty()
            && self.tallies.is_empty()
            && self.tables.is_empty()
            && self.stages.is_empty()
            && self.resolutions.is_empty()
            && self.values.is_empty()
            && self.lines.is_empty()
            && self.caps.is_empty()
            && self.set_aside.is_empty()
            && self.schedules.is_empty()
            && self.skips.is_empty()
            && self.fired.is_empty()
    }
}

/// Attempts of a node that were paid for, and what they earned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    pub tasks: u32,
    pub earned: Credits,
}

/// A run as it is stored.
#[derive(Debug, Clone)]
pub struct RunRecord {
    pub id: RunId,
    pub spec: Arc<RunSpec>,
    pub state: RunState,
    pub phase: Option<Phase>,
    pub times: Times,
    /// The number of the next stage that is no block's own.
    pub next_stage: StageNo,
    /// The number of the next value that one of its blocks gives.
    pub next_value: u32,
    /// What it gives, once everything in it has ended.
    pub output: Option<Arc<str>>,
    pub counts: Counts,
    pub held: Credits,
    pub captured: Credits,
    /// The part of it that its customer's statement has lines of.
    pub billed: Credits,
    /// What its paid attempts used.
    pub usage: Usage,
    /// What its customer should know, though it went on.
    pub warning: Option<String>,
    /// Why it ended, where it did not succeed.
    pub cause: Option<Cause>,
}

impl RunRecord {
    /// Why it ended, in words.
    pub fn error(&self) -> Option<&str> {
        self.cause.as_ref().map(|cause| cause.message.as_str())
    }
}

/// The end of a run whose row cannot be read, and so cannot be written as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    pub run: RunId,
    /// What its accepted tasks cost, by the ledger.
    pub captured: Credits,
    /// What its customer is told.
    pub cause: Cause,
    pub at: DateTime<Utc>,
}

/// A task as it is stored: from the moment it is first handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRecord {
    pub task: TaskRef,
    pub state: TaskState,
    pub attempt: u32,
    pub failures: u32,
    pub losses: u32,
    /// Who holds it, or held it last.
    pub node: Option<NodeId>,
    pub leased_at: Option<DateTime<Utc>>,
    /// When the node first said that it holds it. Like the next, it is stored when the attempt
    /// ends, so that it costs no write of its own.
    pub received_at: Option<DateTime<Utc>>,
    pub running_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    /// It is not tried again before; a waiting call's alone is kept.
    pub not_before: Option<DateTime<Utc>>,
    pub price: Credits,
    /// The receipt that ended it, as it was sent.
    pub receipt: Option<SignedReceipt>,
    pub error: Option<String>,
}

impl TaskRecord {
    /// Whether the end of its run has cut it off, and not its own failure.
    pub fn is_cut_off(&self) -> bool {
        self.error.as_deref() == Some(RUN_ENDED)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    Waiting,
    Leased,
    Done,
    Failed,
}

impl TaskState {
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Leased, Self::Done, Self::Failed];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Leased => "leased",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// The number that stands for the state in the database.
    pub const fn number(self) -> i16 {
        match self {
            Self::Waiting => 0,
            Self::Leased => 1,
            Self::Done => 2,
            Self::Failed => 3,
        }
    }

    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// 0 until the chunks are known.
    pub chunks: u32,
    pub chunks_done: u32,
    pub tasks_running: u32,
    pub nodes_busy: u32,
    pub spent: Credits,
    /// Tasks that were accepted and gave no results.
    pub tasks_without_results: u32,
    /// Why a task of it is being tried again.
    pub trouble: Option<Arc<str>>,
}

/// What an attempt of a call gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerRecord {
    pub lease: Lease,
    pub began_at: DateTime<Utc>,
    pub answer: Answer,
    /// When the next attempt is due, where there is one.
    pub next_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub run: RunId,
    pub state: RunState,
}

/// What watchers of a run are notified of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    State {
        run: RunId,
        owner: Owner,
        state: RunState,
        phase: Option<Phase>,
        /// Why it ended, where it did not succeed.
        cause: Option<Cause>,
    },
    Task {
        task: TaskRef,
        owner: Owner,
        /// The phase that its stage belongs to.
        phase: Option<Phase>,
        attempt: u32,
        state: TaskState,
    },
}

/// Whose run it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub workspace: WorkspaceId,
    pub job: JobId,
    pub origin: Origin,
}

impl Owner {
    pub fn of(spec: &RunSpec) -> Self {
        Self { workspace: spec.workspace, job: spec.job, origin: spec.origin }
    }
}

/// Who may touch a task's data from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseChange {
    Granted { node: NodeId, lease: Lease },
    Ended { node: NodeId, lease: Lease },
}

/// What has changed since the last drain.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub changes: Changes,
    /// What is stored as it stands when everything has been decided.
    pub runs: BTreeSet<RunId>,
    pub stages: BTreeSet<(RunId, StageNo)>,
    pub tasks: BTreeMap<TaskRef, TaskRecord>,
}

impl Market {
    /// Takes what must be stored and done since the last call.
    pub fn drain(&mut self) -> Changes {
        let Outbox { mut changes, runs, stages, tasks } = std::mem::take(&mut self.outbox);
        for run in runs.iter().filter_map(|id| self.runs.get(id)) {
            changes.runs.push(run.record());
            changes.progress.push((run.id, run.progress()));
        }
        let open = stages.into_iter().filter_map(|(id, no)| {
            let run = self.runs.get(&id)?;
            Some(run.stage(no)?.record(id, None))
        });
        changes.stages.extend(open);
        changes.tasks = tasks.into_values().collect();
        changes
    }
}
