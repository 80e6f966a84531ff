//! The kind of node that the stages of a class ask for.

use crate::compute::container::Grants;
use crate::compute::resources::Resources;
use crate::ids::WorkspaceId;
use crate::market::tasks::task_stage::Demand;
use crate::run::queue::Pool;
use crate::run::scheduling::Regions;

/// What the stages of a class ask for, at least.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    cpu_millis: u32,
    memory_mib: u32,
    /// Rounded down to a power of two: inputs are of all sizes.
    disk_mib: u32,
    gpus: Vec<String>,
    regions: Regions,
    asks: Grants,
    /// The customer whose own nodes alone will do.
    only_of: Option<WorkspaceId>,
    /// The pools of its queue, and whose they are: a pool can be of its owner's nodes.
    pools: Option<(WorkspaceId, Vec<Pool>)>,
}

impl Kind {
    pub fn of(demand: Demand<'_>) -> Self {
        let Resources { cpu_millis, memory_mib, disk_mib } = demand.needs;
        Self {
            cpu_millis,
            memory_mib,
            disk_mib: disk_mib.checked_ilog2().map_or(0, |log| 1 << log),
            gpus: demand.gpus.to_vec(),
            regions: demand.regions.clone(),
            asks: demand.asks,
            only_of: demand.own_nodes.then_some(demand.customer),
            pools: (!demand.pools.is_empty()).then(|| (demand.customer, demand.pools.to_vec())),
        }
    }

    /// The least that its stages ask for, of any customer where it is not of one.
    pub fn demand(&self) -> Demand<'_> {
        let of_pools = self.pools.as_ref().map(|(owner, _)| *owner);
        let nobody = WorkspaceId::new(uuid::Uuid::nil());
        Demand {
            customer: self.only_of.or(of_pools).unwrap_or(nobody),
            needs: Resources::new(self.cpu_millis, self.memory_mib).with_disk(self.disk_mib),
            gpus: &self.gpus,
            regions: &self.regions,
            asks: self.asks,
            own_nodes: self.only_of.is_some(),
            pools: self.pools.as_ref().map_or(&[], |(_, pools)| pools),
        }
    }
}
