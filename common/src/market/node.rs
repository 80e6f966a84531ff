//! A node as the market sees it: what it lends, what it holds, whether it can be trusted with more.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::Market;
use super::gpus::Gpus;
use super::health::Health;
use super::run::Run;
use crate::device::Device;
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
    pub(super) device: Device,
    pub(super) gpus: Gpus,
    pub(super) leased: BTreeSet<Lease>,
    /// The needs of all leased tasks together.
    pub(super) used: Resources,
    /// What it said last that it holds or has a receipt for.
    pub(super) listed: BTreeSet<Lease>,
    /// It has answered for its leases until then.
    pub(super) until: DateTime<Utc>,
    pub(super) health: Health,
    /// It said with its last message how its probe stands.
    pub(super) tells_of_probe: bool,
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
            device: Device::default(),
            gpus: Gpus::default(),
            leased: BTreeSet::new(),
            used: Resources::NONE,
            listed: BTreeSet::new(),
            until,
            health: Health::default(),
            tells_of_probe: false,
        }
    }

    pub fn is_present(&self, now: DateTime<Utc>) -> bool {
        self.incarnation.is_some() && self.until > now
    }

    /// Whether it gets no tasks of this customer.
    pub fn is_aside(&self, customer: WorkspaceId, now: DateTime<Utc>) -> bool {
        self.health.is_aside(customer, now)
    }

    pub fn capacity(&self) -> Resources {
        self.capacity
    }

    pub fn leased(&self) -> usize {
        self.leased.len()
    }

    /// Whether the run may be worked on where this node is.
    pub(super) fn is_admitted(&self, run: &Run) -> bool {
        run.spec.terms.regions.admit(&self.device.region)
    }

    /// Whether it could take a task of the run if it had nothing else to do.
    pub(super) fn is_fit(&self, run: &Run) -> bool {
        run.needs().fits_in(self.capacity) && self.gpus.has(run.gpus()) && self.is_admitted(run)
    }

    /// Whether it can take one more task of the run, of those that it runs or of those ahead.
    pub(super) fn can_take(&self, run: &Run, ahead: bool) -> bool {
        let extra = if ahead { self.prefetch } else { 0 };
        self.has_room(run.needs(), extra)
            && self.gpus.has_free(run.gpus(), extra)
            && self.is_admitted(run)
    }

    /// Whether a task with these needs can be added: within the capacity, or beyond it by so many
    /// such tasks.
    fn has_room(&self, needs: Resources, extra: u32) -> bool {
        let limit = Resources::new(
            self.capacity.cpu_millis.saturating_add(needs.cpu_millis.saturating_mul(extra)),
            self.capacity.memory_mib.saturating_add(needs.memory_mib.saturating_mul(extra)),
        )
        // Data that arrives before its task's turn is on the disk already.
        .with_disk(self.capacity.disk_mib);
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
                self.lose(lease, "its node went silent", now);
            }
            self.nodes.remove(&id);
            self.open.remove(&id);
        }
    }
}
