//! The market: every run, node and account in memory, and the rules by which they change.
//!
//! A method takes an event and the time, changes the state, and leaves in the outbox what must be
//! stored and done. The caller stores all of it in one transaction before it acts or answers; the
//! memory here is only a cache of what is stored, so a restart is `Market::load` and nothing else.

mod calls;
mod figures;
#[cfg(any(test, feature = "testing"))]
mod fingerprint;
mod flow;
mod frozen;
mod members;
mod money;
mod outbox;
pub mod placement;
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
mod values;

pub use calls::{CallLimit, CallLimits};
pub use figures::{Figures, Receipts};
pub use flow::again::Interrupted;
pub use flow::set_aside::Unreadable;
pub use frozen::{Fault, Frozen, Resolution};
pub use members::{Elements, Members};
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
pub use queues::{QueueInUse, QueueView};
pub use run::{Counts, Run};
pub use schedules::{Fire, Planned, Skip, SkipCause};
pub use stage::{Cursor, Stage, StageEnd, StageOutcome, StageRecord};
pub use sync::CheckedSync;
pub use tasks::Tasks;
pub use tasks::active::UnderLease;
pub use trust::OperatorRecord;
pub use trust::checks::Checks;
pub use values::{TooMuch, ValueRecord};

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::compute::resources::Resources;
use crate::ids::{JobId, NodeId, QueueId, RunId, WorkspaceId};
use crate::money::credits::Credits;
use crate::money::ledger::{Account, Ledger};
use crate::money::price::TASK_TIMEOUT_SECS;
use crate::money::spend_cap::SpendCap;
use crate::money::statement::Head;
use crate::run::RunState;
use crate::run::queue::QueueRules;
use crate::run::task::{Lease, StageNo, TaskRef};
use calls::Calls;
use flow::cancel::Stopping;
use money::caps::Caps;
use outbox::Outbox;
use placement::queue::Queue;
use queues::Queues;
use schedules::Schedules;
use tasks::active::{Active, Tries};
use tasks::task_stage::TaskStage;
use trust::Trust;

/// The numbers that the market's owner may turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The tasks of a node that is silent for this long are offered to others.
    pub lease: TimeDelta,
    /// The time for which a task without a shorter timeout is reserved when it is handed out; the
    /// reservation grows with a task that takes longer.
    pub estimate: TimeDelta,
    /// A task that has not begun to run on its node for this long goes elsewhere.
    pub start: TimeDelta,
    /// The same on a node of an operator that is not proven.
    pub start_unproven: TimeDelta,
    /// A task of an operator that is not proven goes elsewhere when it runs longer than this, and
    /// than eight times what the run's tasks take on average.
    pub straggler: TimeDelta,
    /// The same where it has not begun, once its run has nothing else to hand out.
    pub straggler_start: TimeDelta,
    /// The task timeout of jobs that give none, in seconds.
    pub task_timeout_secs: u32,
    pub checks: Checks,
    /// A task that this many nodes have lost is given up.
    pub losses_max: u32,
    /// This many faults in a row with one customer's tasks set a node aside for this customer; so
    /// many with several customers' make the server ask the node for a probe.
    pub strikes_max: u32,
    /// How long a node is set aside.
    pub aside: TimeDelta,
    /// A node that does not answer a probe within this time has failed it.
    pub probe: TimeDelta,
    /// A node that goes on to hold tasks of a cancelled run is waited for no longer.
    pub stop: TimeDelta,
    /// How many calls may be under way at once.
    pub calls: CallLimits,
    /// A call that the server itself has lost so often is given up: a few restarts are not enough.
    pub call_losses_max: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lease: TimeDelta::seconds(30),
            estimate: TimeDelta::seconds(60),
            start: TimeDelta::hours(2),
            start_unproven: TimeDelta::minutes(10),
            straggler: TimeDelta::seconds(5),
            straggler_start: TimeDelta::seconds(60),
            task_timeout_secs: TASK_TIMEOUT_SECS,
            checks: Checks { percent: 2, key: [0; 32] },
            losses_max: 8,
            strikes_max: 3,
            aside: TimeDelta::seconds(60),
            probe: TimeDelta::seconds(60),
            stop: TimeDelta::minutes(10),
            calls: CallLimits::default(),
            call_losses_max: 32,
        }
    }
}

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
    runs: BTreeMap<RunId, Run>,
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
    open: BTreeSet<NodeId>,
    /// Those of them whose operator has its share of a run that waits.
    capped: BTreeSet<NodeId>,
    trust: Trust,
    /// How many nodes of each operator there are.
    present: BTreeMap<WorkspaceId, u32>,
    /// Templates, with their owners, whose results differ by themselves.
    unstable: BTreeSet<(WorkspaceId, String)>,
    outbox: Outbox,
}

/// What was stored, to go on from.
#[derive(Debug, Default)]
pub struct Stored {
    pub runs: Vec<Run>,
    /// Runs that were cancelled, and whose nodes had not all stopped.
    pub stopping: Vec<RunRecord>,
    /// Unfinished runs of which something cannot be read.
    pub unreadable: Vec<Unreadable>,
    pub tasks: Vec<TaskRecord>,
    /// The operator of each node that holds a task.
    pub operators: BTreeMap<NodeId, WorkspaceId>,
    pub ledger: Ledger,
    pub statements: BTreeMap<WorkspaceId, Head>,
    /// What operators have shown.
    pub records: BTreeMap<WorkspaceId, OperatorRecord>,
    /// How many leases nodes may have at once.
    pub windows: BTreeMap<NodeId, u32>,
    /// The active schedules.
    pub schedules: Vec<Planned>,
    pub queues: Vec<(QueueId, QueueRules)>,
    /// The spend caps of projects.
    pub caps: Vec<(WorkspaceId, String, SpendCap)>,
}

impl Market {
    /// Goes on from what was stored. Nodes get a whole lease's time to come back, and the steps
    /// that the server was in are begun again. Runs that cannot go on end as failed; that is in
    /// the outbox, to be stored before anything else.
    pub fn load(policy: Policy, stored: Stored, now: DateTime<Utc>) -> Self {
        let mut market = Self {
            policy,
            running: stored.runs.iter().filter(|run| run.state() == RunState::Running).count(),
            runs: stored.runs.into_iter().map(|run| (run.id, run)).collect(),
            of_jobs: BTreeSet::new(),
            nodes: BTreeMap::new(),
            ledger: stored.ledger,
            queue: Queue::default(),
            queues: Queues::default(),
            working: BTreeSet::new(),
            stopping: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            pauses: BTreeSet::new(),
            calls: Calls::default(),
            resumed: None,
            reunion: None,
            gone: BTreeMap::new(),
            scheduled: BTreeSet::new(),
            schedules: Schedules::load(stored.schedules),
            statements: stored.statements,
            caps: Caps::default(),
            dry: BTreeSet::new(),
            open: BTreeSet::new(),
            capped: BTreeSet::new(),
            trust: Trust::new(stored.records, stored.windows),
            present: BTreeMap::new(),
            unstable: BTreeSet::new(),
            outbox: Outbox::default(),
        };
        let jobs = market.runs.values().map(|run| &run.spec);
        let ids = market.runs.keys().copied().zip(jobs).filter(|(_, spec)| spec.is_whole());
        market.of_jobs = ids.map(|(id, spec)| (spec.job, id)).collect();
        market.load_queues(stored.queues);
        market.load_caps(stored.caps);
        for (node, operator) in stored.operators {
            market.meet(node, operator, now + policy.lease);
        }
        for task in stored.tasks {
            market.restore(&task, now);
        }
        for run in &stored.unreadable {
            market.set_aside(run, now);
        }
        market.end_contradictory(now);
        for record in stored.stopping {
            market.await_stop_again(record, now);
        }
        let runs: Vec<RunId> = market.runs.keys().copied().collect();
        for id in runs {
            market.resume(id, now);
        }
        market
    }

    /// Takes up a loaded run where it was.
    fn resume(&mut self, id: RunId, now: DateTime<Utc>) {
        let Some(run) = self.runs.get(&id) else { return };
        if let Some(at) = run.begins_at() {
            self.scheduled.insert((at, id));
            return;
        }
        let mut over = Vec::new();
        let tasks: Vec<StageNo> = run.task_stages().map(|stage| stage.no).collect();
        for stage in run.stages() {
            if stage.is_step() {
                self.outbox.changes.steps.push((id, stage.no));
            }
            if stage.is_asking() {
                self.outbox.changes.questions.push((id, stage.no));
            }
            if stage.tasks().is_some_and(Tasks::is_over) {
                over.push(stage.no);
            }
        }
        let calls: Vec<TaskRef> = run.calls().map(|(task, _)| task).collect();
        for no in tasks {
            self.enqueue(id, no);
        }
        for task in calls {
            self.resume_call(task, now);
        }
        self.note_deadline(id);
        self.note_begin_by(id);
        self.note_runnable(id);
        // Its last results were being checked, which a restart drops.
        for no in over {
            self.end_if_over(id, no, now);
        }
    }

    /// Puts an unfinished task back where it was: waiting, or leased to its node.
    fn restore(&mut self, task: &TaskRecord, now: DateTime<Utc>) {
        let TaskRef { run: id, stage: no, index } = task.task;
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.stage(no).is_some_and(|stage| stage.call().is_some()) {
            return self.restore_call(task);
        }
        let Some(stage) = run.tasks(no) else { return };
        let (needs, estimate) = (stage.tasks.needs(), stage.estimate(&self.policy));
        let queue = stage.queue();
        let tries = Tries {
            attempt: task.attempt,
            failures: task.failures,
            losses: task.losses,
            ..Tries::default()
        };
        match (task.state, task.node) {
            (TaskState::Leased, Some(holder)) if self.nodes.contains_key(&holder) => {
                let Some(node) = self.nodes.get_mut(&holder) else { return };
                // The hold covers it, even if the policy has changed since.
                let bound = estimate.min(run.purse.free());
                let leased_at = task.leased_at.unwrap_or(now);
                let active = Active::new((holder, node.operator), leased_at, bound, tries);
                run.hand_out(no, index, active);
                self.working.insert(id);
                let lease = Lease { task: task.task, attempt: task.attempt };
                node.leased.insert(lease);
                node.used = node.used.plus(needs);
                self.count_restored(queue);
                self.outbox.changes.leases.push(LeaseChange::Granted { node: holder, lease });
            }
            (TaskState::Waiting | TaskState::Leased, _) => {
                if let Some(reason) = &task.error {
                    run.note_trouble(no, index, reason);
                }
                if let Some(tasks) = run.tasks_mut(no) {
                    tasks.waiting.insert(index, tries);
                }
            }
            (TaskState::Done | TaskState::Failed, _) => {}
        }
    }

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

    /// The invariants: what must be true after every step. Its cost grows with what is running.
    pub fn check(&self) -> Result<(), String> {
        self.ledger.check()?;
        self.check_figures()?;
        self.check_calls()?;
        self.check_jobs()?;
        self.check_queues()?;
        self.check_caps()?;
        let mut held: BTreeMap<WorkspaceId, Credits> = BTreeMap::new();
        for run in self.runs.values() {
            run.check()?;
            let sum = held.entry(run.spec.workspace).or_default();
            *sum = sum.saturating_add(run.held());
            for (lease, active) in run.task_stages().flat_map(TaskStage::leased) {
                let node = self.nodes.get(&active.node);
                if !node.is_some_and(|node| node.leased.contains(&lease)) {
                    return Err(format!("{lease} is leased to a node that does not hold it"));
                }
            }
        }
        for (workspace, sum) in held {
            let account = self.ledger.balance(Account::Held(workspace));
            if account != sum {
                return Err(format!("{workspace} holds {account}, its runs hold {sum}"));
            }
        }
        for (id, node) in &self.nodes {
            let used = node.leased.iter().fold(Resources::NONE, |sum, lease| {
                let leased = self.leased(*lease);
                sum.plus(leased.map_or(Resources::NONE, |(stage, _)| stage.tasks.needs()))
            });
            if used != node.used {
                return Err(format!("{id:?} uses {:?}, counted {used:?}", node.used));
            }
            let mut gpus: BTreeMap<&str, u32> = BTreeMap::new();
            for lease in &node.leased {
                let active =
                    self.runs.get(&lease.task.run).and_then(|run| run.active_lease(*lease));
                if let Some(name) = active.and_then(|active| active.gpu.as_deref()) {
                    *gpus.entry(name).or_default() += 1;
                }
            }
            if gpus != node.gpus.used() {
                return Err(format!("{id:?}: GPUs {:?}, counted {gpus:?}", node.gpus));
            }
            let run_holds = |lease: &&Lease| {
                self.runs
                    .get(&lease.task.run)
                    .and_then(|run| run.active_lease(**lease))
                    .is_some_and(|active| active.node == *id)
            };
            if let Some(lease) = node.leased.iter().find(|lease| !run_holds(lease)) {
                return Err(format!("{id:?} holds {lease}, which its run did not lease to it"));
            }
        }
        Ok(())
    }
}
