//! Runs that are being cancelled: each has ended but for what nodes still have to stop.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::ids::{NodeId, RunId};
use crate::market::outbox::{Ended, Notice, Owner, RunRecord};
use crate::market::{Market, Refused, Run};
use crate::run::RunState;
use crate::run::cause::{Cause, CauseKind};
use crate::run::spec::RunSpec;

/// A cancelled run whose containers may still be there.
#[derive(Debug)]
pub(in crate::market) struct Stopping {
    record: RunRecord,
    /// Nodes that have not said since that they hold nothing of it.
    nodes: BTreeSet<NodeId>,
    /// A node that is heard and goes on to list its tasks is waited for until then.
    until: DateTime<Utc>,
}

impl Stopping {
    pub(in crate::market) fn spec(&self) -> &RunSpec {
        &self.record.spec
    }
}

impl Market {
    /// Ends a run because its customer wants it. Nodes are paid for the time that its tasks ran.
    /// Everything is settled now; the run is cancelled once no node works on it.
    pub fn cancel(&mut self, id: RunId, reason: String, now: DateTime<Utc>) -> Result<(), Refused> {
        if !self.runs.contains_key(&id) {
            return Err(Refused::NoRun);
        }
        let holders = self.holders(id);
        let ended = self.cut_off(id, now);
        let cause = Cause::new(CauseKind::Cancelled, reason);
        self.end_early(id, RunState::Ending, cause, ended, now);
        if let Some(stopping) = self.stopping.get_mut(&id) {
            stopping.nodes = holders;
        }
        self.end_stopped(id, now);
        Ok(())
    }

    /// The nodes that may have a container of the run: those that its tasks are leased to, and those
    /// that have said last that they hold one, which may since have gone to another node.
    fn holders(&self, id: RunId) -> BTreeSet<NodeId> {
        let leased = self.runs.get(&id).into_iter().flat_map(Run::holders);
        let listed = self.nodes.iter().filter(|(_, node)| node.lists(id)).map(|(node, _)| *node);
        leased.chain(listed).collect()
    }

    /// A run has been settled, and waits for its nodes to stop what they run of it.
    pub(in crate::market) fn await_stop(&mut self, record: RunRecord, now: DateTime<Utc>) {
        let until = now + self.policy.stop;
        self.stopping.insert(record.id, Stopping { record, nodes: BTreeSet::new(), until });
    }

    /// A stored run that was being cancelled: any node may still work on it, and has a lease's
    /// time to say so.
    pub(in crate::market) fn await_stop_again(&mut self, record: RunRecord, now: DateTime<Utc>) {
        let nodes = self.nodes.keys().copied().collect();
        let until = now + self.policy.lease;
        if record.spec.is_whole() {
            self.of_jobs.insert((record.spec.job, record.id));
        }
        self.stopping.insert(record.id, Stopping { record, nodes, until });
    }

    /// A node has said of which runs it holds tasks.
    pub(in crate::market) fn note_stopped(
        &mut self,
        node: NodeId,
        holds: &BTreeSet<RunId>,
        now: DateTime<Utc>,
    ) {
        let mut ended = Vec::new();
        for (id, stopping) in &mut self.stopping {
            if holds.contains(id) {
                stopping.nodes.insert(node);
            } else if stopping.nodes.remove(&node) {
                ended.push(*id);
            }
        }
        for id in ended {
            self.end_stopped(id, now);
        }
    }

    /// Ends the cancelled runs whose nodes have gone silent, or have had their time.
    pub(in crate::market) fn end_all_stopped(&mut self, now: DateTime<Utc>) {
        let ids: Vec<RunId> = self.stopping.keys().copied().collect();
        for id in ids {
            self.end_stopped(id, now);
        }
    }

    fn end_stopped(&mut self, id: RunId, now: DateTime<Utc>) {
        let Some(stopping) = self.stopping.get(&id) else { return };
        let works = |id: &NodeId| self.nodes.get(id).is_some_and(|node| node.until > now);
        if stopping.until > now && stopping.nodes.iter().any(works) {
            return;
        }
        let Some(Stopping { mut record, .. }) = self.stopping.remove(&id) else { return };
        self.of_jobs.remove(&(record.spec.job, id));
        let state = RunState::Cancelled;
        record.state = state;
        record.times.states.insert(state, now);
        let owner = Owner { workspace: record.spec.workspace, job: record.spec.job };
        let (phase, cause) = (record.phase, record.cause.clone());
        let changes = &mut self.outbox.changes;
        changes.notices.push(Notice::State { run: id, owner, state, phase, cause });
        // It may have been stored as ending in this very turn.
        changes.runs.retain(|run| run.id != id);
        changes.runs.push(record);
        changes.ended.push(Ended { run: id, state });
    }
}
