//! What of a customer's credits a plan needs to begin, and to keep.

use super::{BlockId, Body, ContainerTask, Plan};
use crate::call::CallTask;
use crate::money::credits::Credits;
use crate::money::price::most;

impl ContainerTask {
    /// What is reserved for one attempt that may run for this many seconds before more is.
    pub fn reservation(&self, secs: u32) -> Credits {
        most(self.container.needs, secs.min(self.timeout_secs))
    }
}

impl Plan {
    /// What is held when a run starts: the reservation of its most expensive task in a container,
    /// those that are kept from the start, and the prices of its calls.
    pub fn first_hold(&self, secs: u32) -> Credits {
        let largest = |kept: bool| {
            let tasks = self.container_tasks().filter(move |task| task.is_reserved == kept);
            tasks.map(move |task| task.reservation(secs))
        };
        let first = largest(false).max().unwrap_or(Credits::ZERO);
        let held = largest(true).fold(first, Credits::saturating_add);
        self.calls().map(|(_, call)| call.price).fold(held, Credits::saturating_add)
    }

    /// All calls, each once.
    pub fn calls(&self) -> impl Iterator<Item = (BlockId, &CallTask)> {
        self.blocks().filter_map(|(id, _)| self.call_task(id).map(|task| (id, task)))
    }

    /// The tasks whose reservations are held from the run's start.
    pub fn reserved(&self) -> impl Iterator<Item = (BlockId, &ContainerTask)> {
        let ids = self.0.reserved.iter().copied();
        ids.filter_map(|id| self.container_task(id).map(|task| (id, task)))
    }

    /// The blocks of all other container work.
    pub fn unreserved(&self) -> impl Iterator<Item = BlockId> {
        self.blocks().filter_map(|(id, block)| match &block.body {
            Body::Container(task) if !task.is_reserved => Some(id),
            Body::Group(_)
            | Body::Each(_)
            | Body::Child(_)
            | Body::Container(_)
            | Body::Data(_)
            | Body::Call(_) => None,
        })
    }
}
