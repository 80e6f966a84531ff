//! Placement: which task goes to which node, and why not.
//!
//! Greedy and in rounds: each round gives one task to every node that has room, so that a small
//! run spreads over all nodes; the run with the fewest running tasks is served first.

use chrono::{DateTime, Utc};

use super::Market;
use super::life::record;
use super::outbox::{LeaseChange, TaskRecord, TaskState};
use super::run::Active;
use crate::ids::{NodeId, RunId};

impl Market {
    /// Hands out tasks until no node has room for any, first within the nodes' capacity and then
    /// ahead of it. Gives the nodes that got something.
    pub fn dispatch(&mut self, now: DateTime<Utc>) -> Vec<NodeId> {
        let mut served = Vec::new();
        for ahead in [false, true] {
            loop {
                let open: Vec<NodeId> = self.open.iter().copied().collect();
                let before = served.len();
                for node in open {
                    if self.runnable.is_empty() {
                        return served;
                    }
                    if self.place_one(node, ahead, now) {
                        served.push(node);
                    }
                }
                if served.len() == before {
                    break;
                }
            }
        }
        // Every open node has been offered everything: none has room before something changes.
        let present: Vec<NodeId> = self
            .open
            .iter()
            .filter(|id| self.nodes.get(id).is_some_and(|node| !node.is_aside(now)))
            .copied()
            .collect();
        for id in present {
            if self.runnable.is_empty() {
                break;
            }
            self.open.remove(&id);
        }
        served
    }

    /// Gives the node one task of the first run that has one for it.
    fn place_one(&mut self, id: NodeId, ahead: bool, now: DateTime<Utc>) -> bool {
        let Some(node) = self.nodes.get(&id) else { return false };
        if !node.is_present(now) || node.is_aside(now) {
            return false;
        }
        let candidates: Vec<RunId> = self
            .runnable
            .iter()
            .filter(|(_, run)| {
                self.runs.get(run).is_some_and(|run| node.has_room(run.needs(), ahead))
            })
            .map(|(_, run)| *run)
            .take(16)
            .collect();
        candidates.into_iter().any(|run| self.lease(run, id, now))
    }

    /// Leases the run's next task to the node, if it has one for this node and its hold covers it.
    fn lease(&mut self, run_id: RunId, node_id: NodeId, now: DateTime<Utc>) -> bool {
        let policy = self.policy;
        let Some(run) = self.runs.get(&run_id) else { return false };
        let bound = run.estimate(&policy);
        if let Err(refused) = self.cover(run_id, bound, now) {
            // Running tasks may give back what they do not use; with none, nothing will change.
            if self.runs.get(&run_id).is_some_and(|run| run.active.is_empty()) {
                self.fail(
                    run_id,
                    format!("the wallet cannot pay for its next task: {refused}"),
                    now,
                );
            }
            return false;
        }
        let anywhere = self.nodes.values().filter(|node| node.is_present(now)).count() < 2;
        let Some(run) = self.runs.get_mut(&run_id) else { return false };
        let Some((index, mut tries)) = run.take(node_id, anywhere) else { return false };
        tries.attempt += 1;
        let needs = run.needs();
        let lease = run.lease(index, tries.attempt);
        run.committed = run.committed.saturating_add(bound);
        let task = TaskRecord {
            node: Some(node_id),
            leased_at: Some(now),
            ..record(lease, TaskState::Leased, &tries)
        };
        run.active.insert(
            index,
            Active { node: node_id, leased_at: now, running_since: None, bound, lines: 0, tries },
        );
        if let Some(node) = self.nodes.get_mut(&node_id) {
            node.leased.insert(lease);
            node.used = node.used.plus(needs);
        }
        self.put_task(task);
        self.outbox.leases.push(LeaseChange::Granted { node: node_id, lease });
        self.outbox.runs.insert(run_id);
        self.note_runnable(run_id);
        true
    }
}
