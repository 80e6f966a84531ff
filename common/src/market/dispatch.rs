//! Placement: which task goes to which node, and why not.
//!
//! Greedy and in rounds: each round gives one task to every node that has room, so that a small
//! run spreads over all nodes. Which run is served first is told in `queue`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::active::Active;
use super::checks::Check;
use super::choice::Choice;
use super::outbox::{LeaseChange, TaskState};
use super::queue::Place;
use super::run::Run;
use super::{Market, Refused};
use crate::credits::Credits;
use crate::ids::{NodeId, RunId, WorkspaceId};
use crate::ledger::Account;

impl Market {
    /// Hands out tasks until no node has room for any, first within the nodes' capacity and then
    /// ahead of it. Gives the nodes that got something.
    pub fn dispatch(&mut self, now: DateTime<Utc>) -> Vec<NodeId> {
        let mut served = Vec::new();
        self.end_pauses(now);
        self.capped.clear();
        if self.queue.is_empty() {
            return served;
        }
        for ahead in [false, true] {
            let mut open: Vec<NodeId> = self.open.iter().copied().collect();
            while !open.is_empty() {
                open.retain(|node| self.place_one(*node, ahead, now));
                served.extend_from_slice(&open);
                if self.queue.is_empty() {
                    return served;
                }
            }
        }
        // Every open node has been offered everything: none has room before something changes.
        let present: Vec<NodeId> = self
            .open
            .iter()
            .filter(|id| !self.capped.contains(id))
            .filter(|id| self.nodes.get(id).is_some_and(|node| !node.health.is_aside_for_some(now)))
            .copied()
            .collect();
        for id in present {
            if self.queue.is_empty() {
                break;
            }
            self.open.remove(&id);
        }
        served
    }

    /// Gives the node one task of the first run that has one for it.
    fn place_one(&mut self, id: NodeId, ahead: bool, now: DateTime<Utc>) -> bool {
        let Some(node) = self.nodes.get(&id) else { return false };
        if !node.is_present(now) {
            return false;
        }
        let mut after = None;
        while let Some(place) = self.next_runnable(after, id, ahead, now) {
            if !self.run_has_share(place.run, id, now) {
                self.capped.insert(id);
            } else if self.lease(place.run, id, now) {
                return true;
            }
            after = Some(place);
        }
        false
    }

    /// Whether the node's operator may have one more task of the run.
    fn run_has_share(&self, run: RunId, node: NodeId, now: DateTime<Utc>) -> bool {
        self.runs
            .get(&run)
            .zip(self.nodes.get(&node))
            .is_some_and(|(run, node)| self.has_share(run, node.operator, now))
    }

    /// The next run whose tasks the node has room for.
    fn next_runnable(
        &self,
        after: Option<Place>,
        id: NodeId,
        ahead: bool,
        now: DateTime<Utc>,
    ) -> Option<Place> {
        let node = self.nodes.get(&id)?;
        self.queue.after(after).find(|place| {
            self.runs.get(&place.run).is_some_and(|run| {
                node.can_take(run, ahead)
                    && !node.is_aside(run.spec.workspace, now)
                    && !node.is_barred(run.spec.workspace, now)
            })
        })
    }

    /// Leases the run's next task to the node, if it has one for this node and its hold covers it.
    fn lease(&mut self, run_id: RunId, node_id: NodeId, now: DateTime<Utc>) -> bool {
        let Some(run) = self.runs.get(&run_id) else { return false };
        let needs = run.needs();
        let stuck = |failed_on: &[NodeId]| !self.has_another(run, failed_on, now);
        let operator = self.nodes.get(&node_id).map(|node| node.operator);
        let may_check =
            |check: &Check| operator.is_some_and(|of| self.may_check(check, node_id, of));
        let Some(choice) = run.choose(node_id, stuck, may_check) else { return false };
        let is_check = matches!(choice, Choice::Check(_));
        // Of a run in which its results are in dispute a node gets checks alone: were it to get
        // nothing, two disputes could wait for one another's nodes.
        if run.is_disputed(node_id) && !is_check {
            return false;
        }
        // A check costs the run nothing.
        let bound = if is_check { Credits::ZERO } else { run.estimate(&self.policy) };
        let kept = if is_check { Credits::ZERO } else { run.kept(&self.policy) };
        if let Err(refused) = self.cover(run_id, bound.saturating_add(kept), now) {
            self.stay_dry(run_id, refused, now);
            return false;
        }
        let Some(run) = self.runs.get_mut(&run_id) else { return false };
        let Some(node) = self.nodes.get_mut(&node_id) else { return false };
        let Some((index, mut tries)) = run.take(choice) else { return false };
        tries.attempt += 1;
        let lease = run.lease(index, tries.attempt);
        let mut active = Active::new((node_id, node.operator), now, bound, tries);
        node.leased.insert(lease);
        node.window.note(node.leased.len());
        node.used = node.used.plus(needs);
        active.gpu = node.gpus.take(run.gpus());
        active.is_check = is_check;
        let task = active.record(lease, TaskState::Leased);
        run.hand_out(index, active);
        self.queue.serve(run);
        self.outbox.leases.push(LeaseChange::Granted { node: node_id, lease });
        if is_check {
            Self::check_leased(run, index, lease.attempt, now);
        } else {
            self.put_task(task);
            self.outbox.runs.insert(run_id);
        }
        self.note_runnable(run_id);
        true
    }

    /// Whether some node that is large enough could serve, other than these.
    pub(super) fn has_another(&self, run: &Run, than: &[NodeId], now: DateTime<Utc>) -> bool {
        self.nodes.iter().any(|(id, node)| !than.contains(id) && node.could_serve(run, now))
    }

    /// The wallet cannot cover one more task: the run waits for running tasks, its own or other
    /// runs', to give back what they do not use. With nothing else held, nothing would come back,
    /// and it ends.
    fn stay_dry(&mut self, id: RunId, refused: Refused, now: DateTime<Utc>) {
        let Some(run) = self.runs.get(&id) else { return };
        let owner = run.spec.workspace;
        if run.active.is_empty() {
            // A run that only waits holds nothing, so that no two wait for one another.
            let rest = run.held;
            self.give_back(id, rest, now);
            if self.ledger.balance(Account::Held(owner)).is_zero() {
                let reason = format!("the wallet cannot pay for its next task: {refused}");
                return self.fail(id, reason, now);
            }
        }
        self.dry.insert((owner, id));
        self.note_runnable(id);
    }

    /// Credits have come into a wallet: its runs may go on.
    pub(super) fn wet(&mut self, owner: WorkspaceId) {
        let first = (owner, RunId::new(Uuid::nil()));
        let last = (owner, RunId::new(Uuid::max()));
        let dry: Vec<RunId> = self.dry.range(first..=last).map(|(_, run)| *run).collect();
        for id in dry {
            self.dry.remove(&(owner, id));
            self.note_runnable(id);
        }
    }
}
