//! What operators and their nodes have shown, and so how much is put at risk with them.
//!
//! What a node says of itself is a claim. A new node gets few leases at once, and more with each
//! window of accepted work; a new operator gets no more than a share of each run, while others
//! can do the rest.

pub(super) mod blame;
pub(super) mod checks;
pub(super) mod health;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::Market;
use super::tasks::Tasks;
use super::tasks::task_stage::TaskStage;
use crate::ids::{NodeId, WorkspaceId};

/// The most tasks that a node may hold, whatever it has shown.
pub(super) const LEASES_MAX: u32 = 1_024;
/// The tasks that a node may hold which has shown nothing.
const LEASES_FIRST: u32 = 2;
/// An operator is proven after this many accepted tasks with results, where there have been too few checks.
const PROVEN_TASKS: u32 = 256;
/// An operator is believed after this many checks in which it agreed with one that is.
const CHECKS_TO_BELIEVE: u32 = 3;
/// How long an operator gets no tasks that has given false results.
const BARRED: TimeDelta = TimeDelta::days(7);
/// Of a run's tasks, in percent, an operator that is not proven gets no more than this.
const SHARE_PERCENT: u64 = 25;
/// Beyond that it gets one task in this time, so that no run stops because the others are slow.
const RELIEF: TimeDelta = TimeDelta::seconds(10);

/// What is stored of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OperatorRecord {
    /// Accepted tasks with results, counted as far as they matter.
    pub accepted: u32,
    /// Checks in which it agreed with an operator that is believed.
    pub agreed: u32,
    /// It has given false results, and gets no tasks until then.
    pub barred_until: Option<DateTime<Utc>>,
}

/// What all nodes and operators have shown.
#[derive(Debug)]
pub(super) struct Trust {
    /// The server's owner, who needs no proof.
    owners: BTreeSet<WorkspaceId>,
    pub operators: BTreeMap<WorkspaceId, OperatorRecord>,
    /// Operators that have given false results, each with to whom.
    barred: BTreeMap<WorkspaceId, BTreeSet<WorkspaceId>>,
    /// How many leases each node may have at once, where that is more than the first.
    pub windows: BTreeMap<NodeId, u32>,
}

/// How many leases a node may have at once: twice as many each time that it had them all and as
/// many tasks were accepted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    size: u32,
    accepted: u32,
    /// The most leases that it had at once, since it grew last.
    peak: u32,
}

/// Tasks of a run that an operator has, or had and did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub tasks: u32,
    /// When it got the last.
    pub last: DateTime<Utc>,
}

impl Window {
    const fn new(size: u32) -> Self {
        Self { size, accepted: 0, peak: 0 }
    }

    pub const fn size(self) -> u32 {
        self.size
    }

    pub const fn has_room(&self, leased: usize) -> bool {
        leased < self.size as usize
    }

    /// Notes how many leases the node has.
    pub fn note(&mut self, leased: usize) {
        self.peak = self.peak.max(u32::try_from(leased).unwrap_or(u32::MAX));
    }

    /// Counts an accepted task; true where the window has grown.
    fn accept(&mut self) -> bool {
        self.accepted = self.accepted.saturating_add(1);
        let grows = self.size < LEASES_MAX && self.peak >= self.size && self.accepted >= self.size;
        if grows {
            *self = Self::new((self.size * 2).min(LEASES_MAX));
        }
        grows
    }
}

impl Trust {
    pub const fn new(
        operators: BTreeMap<WorkspaceId, OperatorRecord>,
        windows: BTreeMap<NodeId, u32>,
    ) -> Self {
        Self { owners: BTreeSet::new(), operators, barred: BTreeMap::new(), windows }
    }

    pub fn is_owner(&self, operator: WorkspaceId) -> bool {
        self.owners.contains(&operator)
    }

    /// Whether its results are believed where others differ.
    pub fn is_checked(&self, operator: WorkspaceId) -> bool {
        let has_agreed = |record: &OperatorRecord| record.agreed >= CHECKS_TO_BELIEVE;
        self.is_owner(operator) || self.operators.get(&operator).is_some_and(has_agreed)
    }

    /// Whether more than a share of a run may go to this operator.
    pub fn is_proven(&self, operator: WorkspaceId) -> bool {
        let has_worked = |record: &OperatorRecord| record.accepted >= PROVEN_TASKS;
        self.is_checked(operator) || self.operators.get(&operator).is_some_and(has_worked)
    }

    pub fn barred_until(&self, operator: WorkspaceId) -> Option<DateTime<Utc>> {
        self.operators.get(&operator)?.barred_until
    }

    /// Bars an operator, and forgets what it has shown; gives until when.
    pub fn bar(&mut self, operator: WorkspaceId, now: DateTime<Utc>) -> DateTime<Utc> {
        let until = now + BARRED;
        let record = OperatorRecord { barred_until: Some(until), ..OperatorRecord::default() };
        self.operators.insert(operator, record);
        until
    }

    /// Bars an operator for one customer, until the server starts again.
    pub fn bar_for(&mut self, operator: WorkspaceId, customer: WorkspaceId) {
        self.barred.entry(operator).or_default().insert(customer);
    }

    pub fn barred_for(&self, operator: WorkspaceId) -> BTreeSet<WorkspaceId> {
        self.barred.get(&operator).cloned().unwrap_or_default()
    }

    /// Lets a node begin with as few leases as a new one.
    pub fn forget_window(&mut self, node: NodeId) -> Window {
        self.windows.remove(&node);
        Window::new(LEASES_FIRST)
    }

    pub fn window(&self, node: NodeId, operator: WorkspaceId) -> Window {
        let shown = self.windows.get(&node).copied().unwrap_or(LEASES_FIRST);
        Window::new(if self.owners.contains(&operator) { LEASES_MAX } else { shown })
    }
}

impl Market {
    /// Trusts the nodes of the server's owner without any proof.
    pub fn trust(&mut self, owner: WorkspaceId) {
        self.trust.owners.insert(owner);
        for (id, node) in self.nodes.iter_mut().filter(|(_, node)| node.operator == owner) {
            node.window = self.trust.window(*id, owner);
            self.room.open(*id);
        }
    }

    /// A node's task was accepted: the node may have more at once, and its operator is known
    /// better. What is stored grows in doublings, so that few tasks cost a write.
    pub(super) fn note_accepted(&mut self, id: NodeId, has_results: bool) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.window.accept() {
            self.trust.windows.insert(id, node.window.size);
            self.outbox.changes.windows.insert(id, node.window.size);
        }
        let operator = node.operator;
        let record = self.trust.operators.entry(operator).or_default();
        if has_results && record.accepted < PROVEN_TASKS {
            record.accepted += 1;
            if record.accepted.is_power_of_two() {
                self.outbox.changes.operators.insert(operator, *record);
            }
        }
    }

    /// Two operators gave the same results. That counts for one that is not believed yet only if
    /// the other is.
    pub(super) fn note_agreed(&mut self, [first, second]: [WorkspaceId; 2]) {
        for (operator, with) in [(first, second), (second, first)] {
            if self.trust.is_checked(operator) || !self.trust.is_checked(with) {
                continue;
            }
            let record = self.trust.operators.entry(operator).or_default();
            record.agreed += 1;
            self.outbox.changes.operators.insert(operator, *record);
        }
    }

    pub(super) fn has_several_operators(&self) -> bool {
        self.present.len() > 1
    }

    /// Whether the operator may have one more task of the stage.
    pub(super) fn has_share(
        &self,
        stage: TaskStage<'_>,
        operator: WorkspaceId,
        now: DateTime<Utc>,
    ) -> bool {
        if self.trust.is_proven(operator) {
            return true;
        }
        let Some(taken) = stage.tasks.taken.get(&operator) else { return true };
        let all: u64 = stage.tasks.taken.values().map(|taken| u64::from(taken.tasks)).sum();
        let share = ((all + 1) * SHARE_PERCENT).div_ceil(100).max(1);
        u64::from(taken.tasks) < share
            || now - taken.last >= RELIEF
            || !self.has_other_operator(stage, operator, &[], now)
    }

    /// Whether a node of another operator could serve the stage, other than these.
    pub(super) fn has_other_operator(
        &self,
        stage: TaskStage<'_>,
        operator: WorkspaceId,
        than: &[NodeId],
        now: DateTime<Utc>,
    ) -> bool {
        let demand = stage.demand();
        self.has_several_operators()
            && self.nodes.iter().any(|(id, node)| {
                node.operator != operator && !than.contains(id) && node.could_serve(demand, now)
            })
    }
}

impl Tasks {
    /// Counts a task that the operator has, or has done.
    pub(super) fn count_taken(&mut self, operator: WorkspaceId, at: DateTime<Utc>) {
        let taken = self.taken.entry(operator).or_insert(Taken { tasks: 0, last: at });
        *taken = Taken { tasks: taken.tasks.saturating_add(1), last: taken.last.max(at) };
    }

    /// The operator no longer has a task.
    pub(super) fn uncount_taken(&mut self, operator: WorkspaceId) {
        if let Some(taken) = self.taken.get_mut(&operator) {
            taken.tasks = taken.tasks.saturating_sub(1);
        }
    }
}
