//! Nodes that are not heard, and a server that was not there to hear them.
//!
//! A silent node may still be at work. Its tasks stay its own until another node can take them:
//! where nobody can, nothing is won by taking them away, and a finished result would be lost.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::waiting::Waiting;
use crate::ids::{NodeId, RunId};
use crate::market::Market;
use crate::market::run::Run;
use crate::market::trust::blame::Cause;
use crate::run::task::{Lease, StageNo};

/// How long a node that is gone is remembered.
const GONE: TimeDelta = TimeDelta::days(1);
/// After this many times a lease's time, a silent node's task queues up with all others, although
/// no node has room for it.
const PATIENCE: i32 = 4;

/// A lease of a silent node, and since when the node is.
type Silent = (Lease, DateTime<Utc>);

impl Market {
    /// The server itself did nothing for this long: it was paused, its database was away, or its
    /// clock was set. Nobody was heard meanwhile, so no node counts as silent for it.
    pub fn was_away(&mut self, gap: TimeDelta, now: DateTime<Utc>) {
        self.resumed = Some(now);
        let most = now + self.policy.lease.max(self.policy.probe);
        for node in self.nodes.values_mut() {
            if node.until > now - gap {
                node.until = (node.until + gap).min(now + self.policy.lease);
            }
            node.health.extend_probe(gap, most);
        }
    }

    /// A node is heard from that was silent like all others: the network is back, and the others
    /// will be heard within moments. Their tasks are theirs for a lease's time more.
    pub(in crate::market) fn note_reunion(&mut self, id: NodeId, now: DateTime<Utc>) {
        let is_known = self.nodes.contains_key(&id) || self.gone.contains_key(&id);
        let comes_back = is_known && !self.nodes.get(&id).is_some_and(|node| node.is_present(now));
        // One that comes and goes keeps nobody's tasks from it.
        let is_first = self.reunion.is_none_or(|at| now - at > self.policy.lease * PATIENCE);
        if comes_back && is_first && !self.nodes.values().any(|node| node.is_present(now)) {
            self.reunion = Some(now);
        }
    }

    /// Offers the tasks of nodes that have been silent for a lease's time to those that can take
    /// them, and forgets silent nodes that hold none.
    pub(in crate::market) fn offer_silent(&mut self, now: DateTime<Utc>) {
        self.gone.retain(|_, since| now - *since < GONE);
        if self.reunion.is_some_and(|at| now < at + self.policy.lease) {
            return;
        }
        let silent: Vec<NodeId> =
            self.nodes.iter().filter(|(_, node)| node.until <= now).map(|(id, _)| *id).collect();
        let mut by_stage: BTreeMap<(RunId, StageNo), Vec<Silent>> = BTreeMap::new();
        for node in silent.iter().filter_map(|id| self.nodes.get(id)) {
            for lease in &node.leased {
                let stage = (lease.task.run, lease.task.stage);
                by_stage.entry(stage).or_default().push((*lease, node.until));
            }
        }
        for (stage, leases) in by_stage {
            let lost = self.offered(stage, leases, now);
            for lease in lost {
                self.lose(lease, Cause::Gone, "its node went silent", now);
            }
        }
        for id in silent {
            if self.nodes.get(&id).is_some_and(|node| node.leased.is_empty()) {
                self.forget(id, now);
            }
        }
    }

    /// Those of a stage's leases on silent nodes that end, because others can take the tasks.
    fn offered(
        &self,
        (run, no): (RunId, StageNo),
        leases: Vec<Silent>,
        now: DateTime<Utc>,
    ) -> Vec<Lease> {
        let Some(run) = self.runs.get(&run) else { return Vec::new() };
        let Some(stage) = run.tasks(no) else { return Vec::new() };
        let demand = stage.demand();
        let (mut able, mut free) = (false, 0);
        // When all fall silent at once, the last to be heard is no better than the first.
        let lately = Some(now - self.policy.lease / 2);
        let heard = self.nodes.values().filter(|node| node.heard[1] >= lately);
        for node in heard.filter(|node| node.could_serve(demand, now)) {
            able = true;
            let has_share = self.has_share(stage, node.operator, now);
            free += u32::from(node.can_take(demand, false) && has_share);
        }
        let long_ago = now - self.policy.lease * PATIENCE;
        let ends = |(lease, since): Silent| {
            // Nobody waits for a check, and it is paid to nobody.
            let is_check = run.active_lease(lease).is_none_or(|active| active.is_check);
            let is_taken = free > 0;
            if !is_check && is_taken {
                free -= 1;
            }
            (is_check || is_taken || able && since < long_ago).then_some(lease)
        };
        leases.into_iter().filter_map(ends).collect()
    }

    /// Whether what is known of the node's tasks is what it says now: it is present, and was heard
    /// since the server itself is back.
    pub(in crate::market) fn is_heard(&self, id: NodeId, now: DateTime<Utc>) -> bool {
        self.nodes.get(&id).is_some_and(|node| {
            node.is_present(now)
                && self.resumed.is_none_or(|resumed| node.heard[1] >= Some(resumed))
        })
    }

    /// The run's tasks that are with nodes which have not been heard for half a lease, of all its
    /// tasks that are handed out.
    pub(in crate::market) fn unheard(
        &self,
        run: &Run,
        of: usize,
        now: DateTime<Utc>,
    ) -> Option<Waiting> {
        let since = now - self.policy.lease / 2;
        let active = run.task_stages().flat_map(|stage| stage.tasks.active.values());
        let silent = active.map(|active| active.node).filter(|id| {
            let heard = self.nodes.get(id).and_then(|node| node.heard[1]);
            heard.is_none_or(|heard| heard < since)
        });
        let silent: Vec<NodeId> = silent.collect();
        let nodes = silent.iter().copied().collect::<BTreeSet<NodeId>>().into_iter().collect();
        (!silent.is_empty()).then_some(Waiting::Unheard { tasks: silent.len(), of, nodes })
    }
}
