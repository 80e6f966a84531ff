//! A node as the market sees it: what it lends, what it holds, whether it can be trusted with more.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::Market;
use crate::ids::{NodeId, WorkspaceId};
use crate::resources::Resources;
use crate::task::Lease;

/// The most tasks that a node may hold, whatever it says it can do.
const LEASES_MAX: usize = 1_024;

#[derive(Debug)]
pub struct Node {
    pub(super) operator: WorkspaceId,
    /// `None` until it has been heard of since the server started.
    pub(super) incarnation: Option<u64>,
    /// The incarnation before, whose messages may still come in.
    pub(super) former: Option<u64>,
    pub(super) capacity: Resources,
    pub(super) prefetch: u32,
    pub(super) leased: BTreeSet<Lease>,
    /// The needs of all leased tasks together.
    pub(super) used: Resources,
    /// What it said last that it holds or has a receipt for.
    pub(super) listed: BTreeSet<Lease>,
    /// It has answered for its leases until then.
    pub(super) until: DateTime<Utc>,
    /// Faults in a row.
    pub(super) strikes: u32,
    pub(super) aside_until: Option<DateTime<Utc>>,
}

impl Node {
    /// A node that held tasks when the server stopped, and has time until then to come back.
    pub(super) fn absent(operator: WorkspaceId, until: DateTime<Utc>) -> Self {
        Self {
            operator,
            incarnation: None,
            former: None,
            capacity: Resources::NONE,
            prefetch: 0,
            leased: BTreeSet::new(),
            used: Resources::NONE,
            listed: BTreeSet::new(),
            until,
            strikes: 0,
            aside_until: None,
        }
    }

    pub fn is_present(&self, now: DateTime<Utc>) -> bool {
        self.incarnation.is_some() && self.until > now
    }

    pub fn is_aside(&self, now: DateTime<Utc>) -> bool {
        self.aside_until.is_some_and(|until| until > now)
    }

    pub fn capacity(&self) -> Resources {
        self.capacity
    }

    pub fn leased(&self) -> usize {
        self.leased.len()
    }

    /// Whether a task with these needs can be added: within the capacity, or beyond it by as many
    /// such tasks as the node fetches ahead.
    pub(super) fn has_room(&self, needs: Resources, ahead: bool) -> bool {
        let extra = if ahead { self.prefetch } else { 0 };
        let limit = Resources::new(
            self.capacity.cpu_millis.saturating_add(needs.cpu_millis.saturating_mul(extra)),
            self.capacity.memory_mib.saturating_add(needs.memory_mib.saturating_mul(extra)),
        );
        self.leased.len() < LEASES_MAX
            && needs.fits_in(self.capacity)
            && self.used.plus(needs).fits_in(limit)
    }
}

impl Market {
    /// Takes the tasks of nodes that have been silent for a lease's time.
    pub(super) fn expire_nodes(&mut self, now: DateTime<Utc>) {
        let silent: Vec<NodeId> =
            self.nodes.iter().filter(|(_, node)| node.until <= now).map(|(id, _)| *id).collect();
        for id in silent {
            let leases: Vec<Lease> = self
                .nodes
                .get(&id)
                .map(|node| node.leased.iter().copied().collect())
                .unwrap_or_default();
            for lease in leases {
                self.lose(lease, "its node went silent".to_owned(), now);
            }
            self.nodes.remove(&id);
            self.open.remove(&id);
        }
    }

    /// Counts a fault of the node's own; too many in a row set it aside for a while.
    pub(super) fn strike(&mut self, id: NodeId, now: DateTime<Utc>) {
        let policy = self.policy;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.strikes += 1;
            if node.strikes >= policy.strikes_max {
                node.aside_until = Some(now + policy.aside);
                node.strikes = 0;
            }
        }
    }
}
