//! Why a run is waiting: which requirement takes away how many nodes.

use chrono::{DateTime, Utc};

use super::Market;
use crate::ids::RunId;

/// The nodes that a run's next task cannot go to now, each counted under its first obstacle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    pub nodes: usize,
    pub silent: usize,
    /// Set aside after faults in a row.
    pub aside: usize,
    pub too_few_cpus: usize,
    pub too_little_memory: usize,
    pub busy: usize,
}

impl Market {
    /// Explains a run that has a task to hand out; `None` for one that waits for no node.
    pub fn waiting(&self, id: RunId, now: DateTime<Utc>) -> Option<Waiting> {
        let run = self.runs.get(&id).filter(|run| run.has_waiting())?;
        let needs = run.needs();
        let mut waiting = Waiting { nodes: self.nodes.len(), ..Waiting::default() };
        for node in self.nodes.values() {
            let count = if !node.is_present(now) {
                &mut waiting.silent
            } else if node.is_aside(now) {
                &mut waiting.aside
            } else if needs.cpu_millis > node.capacity.cpu_millis {
                &mut waiting.too_few_cpus
            } else if needs.memory_mib > node.capacity.memory_mib {
                &mut waiting.too_little_memory
            } else if node.has_room(needs, true) {
                continue;
            } else {
                &mut waiting.busy
            };
            *count += 1;
        }
        Some(waiting)
    }
}
