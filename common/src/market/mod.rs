//! The market: every run, node and account in memory, and the rules by which they change.
//!
//! A method takes an event and the time, changes the state, and leaves in the outbox what must be
//! stored and done. The caller stores all of it in one transaction before it acts or answers; the
//! memory here is only a cache of what is stored, so a restart is `Market::load` and nothing else.

mod calls;
mod check;
mod figures;
#[cfg(any(test, feature = "testing"))]
mod fingerprint;
mod flow;
mod load;
mod money;
mod outbox;
pub mod placement;
mod policy;
mod queues;
mod run;
mod schedules;
mod stage;
mod sync;
mod tasks;
#[cfg(test)]
mod tests;
mod tick;
mod trust;

pub use calls::{CallLimit, CallLimits};
pub use figures::{Figures, Receipts};
pub use flow::again::Interrupted;
pub use flow::set_aside::Unreadable;
pub use load::Stored;
pub use money::caps::CapView;
pub use money::earnings::{Earned, Share};
pub use money::movement::{Cause, Movement};
pub use outbox::{
    AnswerRecord, Changes, Ended, LeaseChange, Notice, Owner, Progress, RUN_ENDED, RunRecord,
    SetAside, Tally, TaskRecord, TaskState,
};
pub use placement::node::Node;
pub use placement::node_view::{Idle, Live, NodeView};
pub use placement::waiting::{Obstacles, SomeNodes, Waiting};
pub use policy::Policy;
pub use queues::{OutsideQueues, QueueInUse, QueueView};
pub use run::{Counts, Run};
pub use schedules::{Fire, Planned, Skip, SkipCause};
pub use stage::frozen::{Fault, Frozen, Resolution};
pub use stage::members::{Elements, Members};
pub use stage::values::{TooMuch, ValueRecord};
pub use stage::{Cursor, Stage, StageEnd, StageOutcome, StageRecord};
pub use sync::CheckedSync;
pub use tasks::Tasks;
pub use tasks::active::UnderLease;
pub use trust::OperatorRecord;
pub use trust::checks::Checks;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::ids::{JobId, NodeId, RunId, WorkspaceId};
use crate::money::credits::Credits;
use crate::money::ledger::{Account, Ledger};
use crate::money::statement::Head;
use crate::run::task::TaskRef;
use calls::Calls;
use flow::cancel::Stopping;
use money::caps::Caps;
use outbox::Outbox;
use placement::queue::Queue;
use placement::room::Room;
use queues::Queues;
use run::runs::Runs;
use schedules::Schedules;
use trust::Trust;

/// Why a request was turned down. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("this run has been started already")]
    AlreadyStarted,
    #[error("the wallet holds {available} credits and the run needs {needs} to be held")]
    Wallet { needs: Credits, available: Credits },
    #[error(
        "the spend cap of the project, {limit} credits, leaves {room} and the run needs {needs}"
    )]
    Cap { limit: Credits, room: Credits, needs: Credits },
    #[error("there is no such run, or it has ended")]
    NoRun,
    /// Nodes would have to work for it, or it has not failed.
    #[error("only a run that failed after its last task can be delivered again")]
    NotDeliverable,
    /// It goes on, has succeeded, or what is stored of it does not fit together.
    #[error("only a run that failed or was cancelled can be retried")]
    NotRetryable,
    #[error("the run's plan cannot be followed, and a retry follows the same one")]
    SamePlan,
    #[error("nodes still stop what they run of it")]
    Stopping,
    #[error("there is no such queue in this workspace")]
    NoQueue,
}

/// Everything that goes on.
#[derive(Debug)]
pub struct Market {
    policy: Policy,
    /// Runs that have not ended.
    runs: Runs,
    /// The same and those that are being stopped, by their jobs. Those that other runs have started
    /// are left out.
    of_jobs: BTreeSet<(JobId, RunId)>,
    /// How many of them are in the state `Running`.
    running: usize,
    nodes: BTreeMap<NodeId, Node>,
    ledger: Ledger,
    /// Runs that have a task to hand out.
    queue: Queue,
    /// Customers' named queues.
    queues: Queues,
    /// Runs of which tasks are under lease, or checked.
    working: BTreeSet<RunId>,
    /// Cancelled runs whose nodes have not all stopped.
    stopping: BTreeMap<RunId, Stopping>,
    /// When runs must have ended.
    deadlines: BTreeSet<(DateTime<Utc>, RunId)>,
    /// When the pauses of tasks between two tries end.
    pauses: BTreeSet<(DateTime<Utc>, TaskRef)>,
    calls: Calls,
    /// When the server came back that was away.
    resumed: Option<DateTime<Utc>>,
    /// When the first node came back after all had been silent.
    reunion: Option<DateTime<Utc>>,
    /// Nodes that have been silent for too long, and since when. They are remembered for a day.
    gone: BTreeMap<NodeId, DateTime<Utc>>,
    /// Runs that have been accepted and begin later, first come first.
    scheduled: BTreeSet<(DateTime<Utc>, RunId)>,
    /// Schedules of jobs that make runs by themselves.
    schedules: Schedules,
    /// How far each workspace's statement goes.
    statements: BTreeMap<WorkspaceId, Head>,
    caps: Caps,
    /// Runs whose wallet could not cover one more task. They wait for their own running tasks to
    /// give something back, or for credits.
    dry: BTreeSet<(WorkspaceId, RunId)>,
    /// Nodes that may have room.
    room: Room,
    /// Those of them that are to be offered what waits, and whose operator has its share of a run that waits.
    capped: BTreeSet<NodeId>,
    trust: Trust,
    /// How many nodes of each operator there are.
    present: BTreeMap<WorkspaceId, u32>,
    /// Templates, with their owners, whose results differ by themselves.
    unstable: BTreeSet<(WorkspaceId, String)>,
    outbox: Outbox,
}

impl Market {
    pub fn run(&self, id: RunId) -> Option<&Run> {
        self.runs.get(&id)
    }

    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values()
    }

    /// Runs that are cancelled, and whose nodes have not all stopped.
    pub fn stopping(&self) -> impl Iterator<Item = RunId> {
        self.stopping.keys().copied()
    }

    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    pub fn balance(&self, account: Account) -> Credits {
        self.ledger.balance(account)
    }

    /// What an operator's nodes have earned and may not spend yet.
    pub fn pending(&self, operator: WorkspaceId) -> Credits {
        self.ledger.pending(operator)
    }
}
