//! How far the logs go of attempts that were written to a moment ago. The last lines of a short
//! attempt come, or come again, when its lease has ended: nothing has to be looked up for them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use common::ids::NodeId;
use common::run::task::Lease;

use crate::coordinator::leases::AttemptLog;

/// Logs that are remembered.
const MAX: usize = 8_192;

/// The logs that were written to last, by the attempts and the nodes that had them.
#[derive(Default)]
pub struct Remembered(Mutex<Logs>);

#[derive(Default)]
struct Logs {
    of: HashMap<(NodeId, Lease), Arc<AttemptLog>>,
    /// The oldest first.
    order: VecDeque<(NodeId, Lease)>,
}

impl Remembered {
    /// Remembers the log of an attempt that this node has.
    pub fn put(&self, node: NodeId, lease: Lease, log: &Arc<AttemptLog>) {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Logs { of, order } = &mut *logs;
        match of.entry((node, lease)) {
            Entry::Occupied(mut known) => drop(known.insert(Arc::clone(log))),
            Entry::Vacant(free) => {
                free.insert(Arc::clone(log));
                order.push_back((node, lease));
            }
        }
        if order.len() > MAX
            && let Some(oldest) = order.pop_front()
        {
            of.remove(&oldest);
        }
    }

    /// The log of an attempt that this node had.
    pub fn get(&self, node: NodeId, lease: Lease) -> Option<Arc<AttemptLog>> {
        let logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logs.of.get(&(node, lease)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use common::ids::RunId;
    use common::run::task::{StageNo, TaskRef};
    use uuid::Uuid;

    use super::*;

    fn lease(index: u32) -> Lease {
        let task = TaskRef { run: RunId::new(Uuid::nil()), stage: StageNo::new(1), index };
        Lease { task, attempt: 1 }
    }

    #[test]
    fn remembered_logs_are_the_last_ones_and_those_of_the_nodes_that_had_them() {
        let (node, other) = (NodeId::new(Uuid::nil()), NodeId::new(Uuid::max()));
        let remembered = Remembered::default();
        let last = u32::try_from(MAX).unwrap();

        (0..=last).for_each(|n| remembered.put(node, lease(n), &Arc::default()));
        remembered.put(node, lease(1), &Arc::default());

        assert!(remembered.get(node, lease(0)).is_none());
        assert!(remembered.get(node, lease(1)).is_some());
        assert!(remembered.get(node, lease(last)).is_some());
        assert!(remembered.get(other, lease(1)).is_none());
    }
}
