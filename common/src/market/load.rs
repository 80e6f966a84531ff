//! Going on from what is stored: starting is the same as continuing.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::calls::Calls;
use super::flow::set_aside::Unreadable;
use super::money::caps::Caps;
use super::outbox::Outbox;
use super::placement::queue::Queue;
use super::placement::room::Room;
use super::queues::Queues;
use super::schedules::Schedules;
use super::tasks::active::{Active, Tries};
use super::trust::{OperatorRecord, Trust};
use super::{LeaseChange, Market, Planned, Policy, Run, RunRecord, TaskRecord, TaskState, Tasks};
use crate::ids::{NodeId, QueueId, RunId, WorkspaceId};
use crate::money::ledger::Ledger;
use crate::money::spend_cap::SpendCap;
use crate::money::statement::Head;
use crate::run::RunState;
use crate::run::queue::QueueRules;
use crate::run::task::{Lease, StageNo, TaskRef};

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
    pub fn load(policy: Policy, mut stored: Stored, now: DateTime<Utc>) -> Self {
        // The oldest come first again.
        stored.runs.sort_unstable_by_key(|run| run.id);
        let mut market = Self {
            policy,
            running: stored.runs.iter().filter(|run| run.state() == RunState::Running).count(),
            runs: stored.runs.into_iter().collect(),
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
            room: Room::default(),
            capped: BTreeSet::new(),
            trust: Trust::new(stored.records, stored.windows),
            present: BTreeMap::new(),
            unstable: BTreeSet::new(),
            outbox: Outbox::default(),
        };
        let whole = market.runs.values().filter(|run| run.spec.is_whole());
        market.of_jobs = whole.map(|run| (run.spec.job, run.id)).collect();
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
        let runs: Vec<RunId> = market.runs.values().map(|run| run.id).collect();
        for id in runs {
            market.resume(id, now);
        }
        market
    }

    /// Takes up a loaded run where it was.
    pub(super) fn resume(&mut self, id: RunId, now: DateTime<Utc>) {
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
        let (owner, queue) = (run.spec.workspace, stage.queue());
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
                self.count_restored(owner, queue);
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
}
