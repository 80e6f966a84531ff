//! A node as the market sees it: what it lends, what it holds, whether it can be trusted with more.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::gpus::Gpus;
use crate::compute::device::Device;
use crate::compute::resources::Resources;
use crate::ids::{NodeId, RunId, WorkspaceId};
use crate::market::Market;
use crate::market::tasks::task_stage::Demand;
use crate::market::trust::Window;
use crate::market::trust::blame::Cause;
use crate::market::trust::health::Health;
use crate::run::queue::Pool;
use crate::run::task::{Lease, StageNo, TaskRef};

#[derive(Debug)]
pub struct Node {
    pub(in crate::market) operator: WorkspaceId,
    /// `None` until it has been heard of since the server started.
    pub(in crate::market) incarnation: Option<u64>,
    /// The incarnation before, whose messages may still come in.
    pub(in crate::market) former: Option<u64>,
    /// The number of its newest message.
    pub(in crate::market) number: u64,
    pub(in crate::market) capacity: Resources,
    /// It said last that its container engine does not answer.
    pub(in crate::market) engine_away: bool,
    pub(in crate::market) prefetch: u32,
    pub(in crate::market) device: Device,
    pub(in crate::market) gpus: Gpus,
    pub(in crate::market) leased: BTreeSet<Lease>,
    /// The needs of all leased tasks together.
    pub(in crate::market) used: Resources,
    /// What it said last that it holds or has a receipt for.
    pub(in crate::market) listed: BTreeSet<Lease>,
    /// It has answered for its leases until then.
    pub(in crate::market) until: DateTime<Utc>,
    pub(in crate::market) health: Health,
    pub(in crate::market) window: Window,
    /// Its operator has given false results: it gets no tasks until then.
    pub(in crate::market) barred_until: Option<DateTime<Utc>>,
    /// Customers to whom its operator has given false results.
    pub(in crate::market) barred_for: BTreeSet<WorkspaceId>,
    /// It said last that tasks of it wait for the server's bucket.
    pub(in crate::market) waits_for_bucket: bool,
    /// Since when it has not been silent for a lease's time.
    pub(in crate::market) back: DateTime<Utc>,
    /// When its last message came, and the one before.
    pub(in crate::market) heard: [Option<DateTime<Utc>>; 2],
    /// It said with its last message how its probe stands.
    pub(in crate::market) tells_of_probe: bool,
}

/// What the owner of a node does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::market) enum Rule {
    /// Tasks that are for the nodes of another workspace.
    NotOwn,
    Plain,
    Network,
    LocalImages,
}

impl Node {
    /// A node that held tasks when the server stopped, and has time until then to come back.
    pub(in crate::market) fn absent(
        operator: WorkspaceId,
        window: Window,
        until: DateTime<Utc>,
    ) -> Self {
        Self {
            operator,
            incarnation: None,
            former: None,
            number: 0,
            capacity: Resources::NONE,
            engine_away: false,
            prefetch: 0,
            device: Device::default(),
            gpus: Gpus::default(),
            leased: BTreeSet::new(),
            used: Resources::NONE,
            listed: BTreeSet::new(),
            until,
            health: Health::default(),
            window,
            barred_until: None,
            barred_for: BTreeSet::new(),
            waits_for_bucket: false,
            back: DateTime::UNIX_EPOCH,
            heard: [None; 2],
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

    /// Whether it gets no tasks of this customer, because its operator has given false results.
    pub fn is_barred(&self, customer: WorkspaceId, now: DateTime<Utc>) -> bool {
        self.barred_until.is_some_and(|until| until > now) || self.barred_for.contains(&customer)
    }

    pub fn capacity(&self) -> Resources {
        self.capacity
    }

    /// Whether it said last that it holds a task of this run.
    pub(in crate::market) fn lists(&self, run: RunId) -> bool {
        let task = TaskRef { run, stage: StageNo::new(0), index: 0 };
        let first = Lease { task, attempt: 0 };
        self.listed.range(first..).next().is_some_and(|lease| lease.task.run == run)
    }

    pub fn leased(&self) -> usize {
        self.leased.len()
    }

    /// Whether it is in a pool that such tasks may go to.
    pub(in crate::market) fn is_in_pool(&self, demand: Demand<'_>) -> bool {
        let has = |pool: &Pool| pool.has(demand.customer, self.operator, &self.device.region);
        demand.pools.is_empty() || demand.pools.iter().any(has)
    }

    /// Whether such tasks may be worked on where this node is.
    pub(in crate::market) fn is_admitted(&self, demand: Demand<'_>) -> bool {
        demand.regions.admit(&self.device.region)
    }

    /// The first rule of its owner that keeps such tasks away from it.
    pub(in crate::market) fn rule_against(&self, demand: Demand<'_>) -> Option<Rule> {
        let (has, asks) = (self.device.grants, demand.asks);
        if demand.own_nodes && self.operator != demand.customer {
            Some(Rule::NotOwn)
        } else if asks.plain && !has.plain {
            Some(Rule::Plain)
        } else if asks.network && !has.network {
            Some(Rule::Network)
        } else if asks.local_images && !has.local_images {
            Some(Rule::LocalImages)
        } else {
            None
        }
    }

    /// Whether it could take such a task if it had nothing else to do.
    pub(in crate::market) fn is_fit(&self, demand: Demand<'_>) -> bool {
        !self.engine_away
            && demand.needs.fits_in(self.capacity)
            && self.gpus.has(demand.gpus)
            && self.is_admitted(demand)
            && self.is_in_pool(demand)
            && self.rule_against(demand).is_none()
    }

    /// Whether such tasks can be given to it, now or when it has room.
    pub(in crate::market) fn could_serve(&self, demand: Demand<'_>, now: DateTime<Utc>) -> bool {
        self.is_present(now)
            && !self.is_barred(demand.customer, now)
            && !self.is_aside(demand.customer, now)
            && self.is_fit(demand)
    }

    /// Whether it can take one more such task, of those that it runs or of those ahead.
    pub(in crate::market) fn can_take(&self, demand: Demand<'_>, ahead: bool) -> bool {
        let extra = if ahead { self.prefetch } else { 0 };
        self.has_room(demand.needs, extra)
            && self.gpus.has_free(demand.gpus, extra)
            && self.is_admitted(demand)
            && self.is_in_pool(demand)
            && self.rule_against(demand).is_none()
    }

    /// Whether a task with these needs can be added: within the capacity, or beyond it by this many
    /// such tasks.
    fn has_room(&self, needs: Resources, extra: u32) -> bool {
        let limit = Resources::new(
            self.capacity.cpu_millis.saturating_add(needs.cpu_millis.saturating_mul(extra)),
            self.capacity.memory_mib.saturating_add(needs.memory_mib.saturating_mul(extra)),
        )
        // Data that arrives before its task's turn is on the disk already.
        .with_disk(self.capacity.disk_mib);
        !self.engine_away
            && self.window.has_room(self.leased.len())
            && needs.fits_in(self.capacity)
            && self.used.plus(needs).fits_in(limit)
    }
}

impl Market {
    /// Gets to know a node, which has time until then to say something.
    pub(in crate::market) fn meet(
        &mut self,
        id: NodeId,
        operator: WorkspaceId,
        until: DateTime<Utc>,
    ) {
        let Self { nodes, present, trust, gone, .. } = self;
        gone.remove(&id);
        nodes.entry(id).or_insert_with(|| {
            *present.entry(operator).or_default() += 1;
            let node = Node::absent(operator, trust.window(id, operator), until);
            let barred_for = trust.barred_for(operator);
            Node { barred_until: trust.barred_until(operator), barred_for, ..node }
        });
    }

    pub(in crate::market) fn forget(&mut self, id: NodeId, now: DateTime<Utc>) {
        let Some(node) = self.nodes.remove(&id) else { return };
        self.gone.insert(id, now);
        self.room.forget(id);
        if let Some(nodes) = self.present.get_mut(&node.operator) {
            *nodes -= 1;
            if *nodes == 0 {
                self.present.remove(&node.operator);
            }
        }
    }

    /// Takes all tasks of a node, and forgets it.
    pub(in crate::market) fn end_node(&mut self, id: NodeId, why: &str, now: DateTime<Utc>) {
        let leases: Vec<Lease> = self
            .nodes
            .get(&id)
            .map(|node| node.leased.iter().copied().collect())
            .unwrap_or_default();
        for lease in leases {
            self.lose(lease, Cause::Gone, why, now);
        }
        self.forget(id, now);
    }
}
