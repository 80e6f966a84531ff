//! Placement: which task goes to which node, and why not.
//!
//! Greedy and in rounds: each round gives one task to every node that has room, so that a small
//! run spreads over all nodes. Which run is served first, `queue` tells.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::node::Node;
use super::queue::Place;
use crate::ids::{NodeId, QueueId, RunId, WorkspaceId};
use crate::market::outbox::{LeaseChange, TaskState};
use crate::market::tasks::Choice;
use crate::market::tasks::active::Active;
use crate::market::tasks::task_stage::TaskStage;
use crate::market::trust::checks::Check;
use crate::market::{Market, Refused};
use crate::money::credits::Credits;
use crate::money::ledger::Account;
use crate::run::cause::{Cause, CauseKind};
use crate::run::task::{Lease, TaskRef};

impl Market {
    /// Hands out tasks until no node has room for any, first within the nodes' capacity and then
    /// ahead of it. Gives the nodes that got something.
    pub fn dispatch(&mut self, now: DateTime<Utc>) -> Vec<NodeId> {
        let mut served = Vec::new();
        self.dispatch_calls(now);
        self.end_pauses(now);
        self.capped.clear();
        // What nodes can run at once comes before what they fetch ahead.
        for ahead in [false, true] {
            self.place_round_by_round(ahead, &mut served, now);
            self.place_reopened(ahead, &mut served, now);
        }
        self.forget_reopened();
        self.close_offered(now);
        served
    }

    /// Gives every node that may have room one task after the other, until none has room or nothing
    /// waits.
    fn place_round_by_round(&mut self, ahead: bool, served: &mut Vec<NodeId>, now: DateTime<Utc>) {
        let mut round = Vec::new();
        let mut open = self.room.next_open(None);
        let mut idle = self.next_for_appeared(None, ahead);
        while !self.queue.is_empty()
            && let Some(node) = open.into_iter().chain(idle).min()
        {
            if idle == Some(node) {
                idle = self.next_for_appeared(idle, ahead);
                // It is offered everything now, and stays open where only a share keeps it back.
                self.room.open(node);
            } else {
                open = self.room.next_open(open);
            }
            if self.place_one(node, ahead, now) {
                round.push(node);
            }
        }
        while !round.is_empty() {
            served.extend_from_slice(&round);
            round.retain(|node| !self.queue.is_empty() && self.place_one(*node, ahead, now));
        }
    }

    /// Every open node has been offered everything: those that no share and no strike keeps back
    /// get nothing before something changes.
    fn close_offered(&mut self, now: DateTime<Utc>) {
        let Self { room, capped, nodes, queue, .. } = self;
        let opened: Vec<NodeId> = room.opened().filter(|id| !capped.contains(id)).collect();
        for id in opened {
            if let Some(node) = nodes.get(&id)
                && !node.health.is_aside_for_some(now)
            {
                room.close(id, queue.demands().any(|demand| node.can_take(demand, true)));
            }
        }
        room.forget_appeared();
    }

    /// Gives the node one task of the first stage that has one for it.
    pub(in crate::market) fn place_one(
        &mut self,
        id: NodeId,
        ahead: bool,
        now: DateTime<Utc>,
    ) -> bool {
        let Some(node) = self.nodes.get(&id) else { return false };
        if !node.is_present(now) {
            return false;
        }
        let mut after = None;
        let mut passed = BTreeMap::new();
        while let Some(place) = self.next_runnable(after, (id, ahead), now) {
            let is_served = self.place_before(place, &mut passed, (id, ahead), now)
                || self.place_here(place, None, id, now);
            if is_served {
                return true;
            }
            after = Some(place);
        }
        false
    }

    /// Gives the node a task of the stage, if the stage has one for it. `by_turn_of` is another run
    /// whose turn is used for it.
    pub(in crate::market) fn place_here(
        &mut self,
        place: Place,
        by_turn_of: Option<RunId>,
        id: NodeId,
        now: DateTime<Utc>,
    ) -> bool {
        if self.stage_has_share(place, id, now) {
            return self.lease(place, by_turn_of, id, now);
        }
        self.capped.insert(id);
        false
    }

    pub(in crate::market) fn stage(&self, place: Place) -> Option<TaskStage<'_>> {
        self.runs.get(&place.run)?.tasks(place.stage)
    }

    /// Whether the node's operator may have one more task of the stage.
    fn stage_has_share(&self, place: Place, node: NodeId, now: DateTime<Utc>) -> bool {
        self.stage(place)
            .zip(self.nodes.get(&node))
            .is_some_and(|(stage, node)| self.has_share(stage, node.operator, now))
    }

    /// The next stage whose tasks the node has room for.
    fn next_runnable(
        &self,
        after: Option<Place>,
        (id, ahead): (NodeId, bool),
        now: DateTime<Utc>,
    ) -> Option<Place> {
        let node = self.nodes.get(&id)?;
        let fit = |place: &Place| self.has_room_for(*place, node, ahead, now);
        self.queue.first(after, |demand| node.can_take(demand, ahead), fit)
    }

    /// The same of some named queues.
    pub(in crate::market) fn next_runnable_of(
        &self,
        queues: &[QueueId],
        after: Option<Place>,
        (id, ahead): (NodeId, bool),
        now: DateTime<Utc>,
    ) -> Option<Place> {
        let node = self.nodes.get(&id)?;
        let fit = |place: &Place| self.has_room_for(*place, node, ahead, now);
        self.queue.first_of(queues, after, |demand| node.can_take(demand, ahead), fit)
    }

    fn has_room_for(&self, place: Place, node: &Node, ahead: bool, now: DateTime<Utc>) -> bool {
        self.stage(place).map(TaskStage::demand).is_some_and(|demand| {
            node.can_take(demand, ahead)
                && !node.is_aside(demand.customer, now)
                && !node.is_barred(demand.customer, now)
        })
    }

    /// Leases the stage's next task to the node, if it has one for this node and its run's hold
    /// covers it.
    fn lease(
        &mut self,
        place: Place,
        by_turn_of: Option<RunId>,
        node_id: NodeId,
        now: DateTime<Utc>,
    ) -> bool {
        let Place { run: run_id, stage: no, .. } = place;
        let Some(stage) = self.stage(place) else { return false };
        let needs = stage.tasks.needs();
        let stuck = |failed_on: &[NodeId]| !self.has_another(stage, failed_on, now);
        let operator = self.nodes.get(&node_id).map(|node| node.operator);
        let may_check =
            |check: &Check| operator.is_some_and(|of| self.may_check(check, node_id, of));
        let Some(choice) = stage.choose(node_id, stuck, may_check) else { return false };
        let is_check = matches!(choice, Choice::Check(_));
        let is_first = stage.tasks.is_untouched();
        // Of a stage in which its results are in dispute a node gets checks alone: were it to get
        // nothing, two disputes could wait for one another's nodes.
        if stage.is_disputed(node_id) && !is_check {
            return false;
        }
        // A check costs the run nothing.
        let bound = if is_check { Credits::ZERO } else { stage.estimate(&self.policy) };
        let kept = if is_check { Credits::ZERO } else { self.kept(stage.run) };
        if let Err(refused) = self.cover(run_id, bound.saturating_add(kept), now) {
            self.stay_dry(run_id, refused, now);
            return false;
        }
        let Some(run) = self.runs.get_mut(&run_id) else { return false };
        let Some(node) = self.nodes.get_mut(&node_id) else { return false };
        let Some((index, mut tries)) = run.tasks_mut(no).and_then(|tasks| tasks.take(choice))
        else {
            return false;
        };
        tries.attempt += 1;
        let task = TaskRef { run: run_id, stage: no, index };
        let lease = Lease { task, attempt: tries.attempt };
        let mut active = Active::new((node_id, node.operator), now, bound, tries);
        node.leased.insert(lease);
        node.window.note(node.leased.len());
        node.used = node.used.plus(needs);
        active.gpu = run.tasks(no).and_then(|stage| node.gpus.take(stage.demand().gpus));
        active.is_check = is_check;
        active.by_turn_of = by_turn_of;
        let record = active.record(lease, TaskState::Leased);
        run.hand_out(no, index, active);
        let (owner, queue) = (run.spec.workspace, run.tasks(no).and_then(TaskStage::queue));
        self.working.insert(run_id);
        self.outbox.changes.leases.push(LeaseChange::Granted { node: node_id, lease });
        if is_check {
            Self::check_leased(run, lease, now);
        } else {
            self.put_task(record);
            if self.note_working(run_id, now) {
                self.notice_state(run_id);
            }
            if is_first {
                self.tell_begun(run_id, no, now);
            }
            self.outbox.stages.insert((run_id, no));
            self.outbox.runs.insert(run_id);
        }
        self.use_turn(run_id, by_turn_of);
        self.note_runnable(run_id);
        self.count_leased(owner, queue);
        true
    }

    /// A task of a run is handed out: the turn of the run, or of the other one, is used.
    fn use_turn(&mut self, id: RunId, by_turn_of: Option<RunId>) {
        let server = by_turn_of.unwrap_or(id);
        if let Some(run) = self.runs.get_mut(&server) {
            self.queue.serve(run);
            run.lent += u32::from(server != id);
        }
        if by_turn_of.is_some() {
            if let Some(run) = self.runs.get_mut(&id) {
                run.borrowed += 1;
            }
            self.note_runnable(server);
        }
    }

    /// A task has left its node that another run's turn was used for.
    pub(in crate::market) fn give_turn_back(&mut self, id: RunId, by_turn_of: RunId) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.borrowed -= 1;
        }
        if let Some(run) = self.runs.get_mut(&by_turn_of) {
            // It may have ended meanwhile, and have been taken up again.
            run.lent = run.lent.saturating_sub(1);
            self.note_runnable(by_turn_of);
        }
    }

    /// Whether some node that is large enough could serve, other than these.
    pub(in crate::market) fn has_another(
        &self,
        stage: TaskStage<'_>,
        than: &[NodeId],
        now: DateTime<Utc>,
    ) -> bool {
        let demand = stage.demand();
        self.nodes.iter().any(|(id, node)| !than.contains(id) && node.could_serve(demand, now))
    }

    /// The wallet cannot cover one more task: the run waits for running tasks, its own or other
    /// runs', to give back what they do not use. With nothing else held, nothing would come back,
    /// and it ends.
    fn stay_dry(&mut self, id: RunId, refused: Refused, now: DateTime<Utc>) {
        let Some(run) = self.runs.get(&id) else { return };
        let owner = run.spec.workspace;
        if run.running() == 0 {
            // A run that only waits holds nothing, so that no two wait for one another.
            let rest = run.held();
            self.give_back(id, rest, now);
            let is_capped = matches!(refused, Refused::Cap { .. });
            let in_project = self.runs.get(&id).and_then(|run| self.held_in_project(&run.spec));
            let in_wallet = self.ledger.balance(Account::Held(owner));
            let held = in_project.filter(|_| is_capped).unwrap_or(in_wallet);
            if held.is_zero() {
                let who = if is_capped { "its project" } else { "the wallet" };
                let reason = format!("{who} cannot pay for its next task: {refused}");
                return self.fail(id, Cause::new(CauseKind::Credits, reason), now);
            }
        }
        self.dry.insert((owner, id));
        self.note_runnable(id);
    }

    /// Credits have come into a wallet: its runs may go on.
    pub(in crate::market) fn wet(&mut self, owner: WorkspaceId) {
        let first = (owner, RunId::new(Uuid::nil()));
        let last = (owner, RunId::new(Uuid::max()));
        let dry: Vec<RunId> = self.dry.range(first..=last).map(|(_, run)| *run).collect();
        for id in dry {
            self.dry.remove(&(owner, id));
            self.note_runnable(id);
        }
    }
}
