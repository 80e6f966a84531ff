//! Why a run is waiting: which requirement takes away how many nodes.

use chrono::{DateTime, Utc};

use super::Market;
use super::node::Node;
use super::run::Run;
use crate::ids::{NodeId, RunId};

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
    /// Every task that waits has failed there, and may yet succeed on another.
    pub failed_there: usize,
    /// The wallet cannot cover one more task until running ones give back what they do not use.
    pub lacks_credits: bool,
}

impl Waiting {
    /// Whether there is a reason; without one a task is about to be handed out.
    pub fn is_explained(&self) -> bool {
        let obstructed = self.silent
            + self.aside
            + self.too_few_cpus
            + self.too_little_memory
            + self.busy
            + self.failed_there;
        self.lacks_credits || obstructed == self.nodes
    }
}

impl Market {
    /// Explains a run that has a task to hand out; `None` for one that waits for no node.
    pub fn waiting(&self, id: RunId, now: DateTime<Utc>) -> Option<Waiting> {
        let run = self.runs.get(&id).filter(|run| run.has_waiting())?;
        let mut waiting = Waiting {
            nodes: self.nodes.len(),
            lacks_credits: self.dry.contains(&(run.spec.workspace, id)),
            ..Waiting::default()
        };
        for (node_id, node) in &self.nodes {
            if let Some(count) = self.obstacle(run, *node_id, node, now, &mut waiting) {
                *count += 1;
            }
        }
        Some(waiting)
    }

    /// Where a node is counted that cannot take the run's next task.
    fn obstacle<'a>(
        &self,
        run: &Run,
        id: NodeId,
        node: &Node,
        now: DateTime<Utc>,
        waiting: &'a mut Waiting,
    ) -> Option<&'a mut usize> {
        let needs = run.needs();
        let stuck = |failed_on: &[NodeId]| !self.has_another(run, failed_on, now);
        if !node.is_present(now) {
            Some(&mut waiting.silent)
        } else if node.is_aside(run.spec.workspace, now) {
            Some(&mut waiting.aside)
        } else if needs.cpu_millis > node.capacity.cpu_millis {
            Some(&mut waiting.too_few_cpus)
        } else if needs.memory_mib > node.capacity.memory_mib {
            Some(&mut waiting.too_little_memory)
        } else if !node.has_room(needs, true) {
            Some(&mut waiting.busy)
        } else if run.choose(id, stuck).is_none() {
            Some(&mut waiting.failed_there)
        } else {
            None
        }
    }
}
