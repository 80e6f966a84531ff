//! Queues that hand out again: nodes that had nothing to offer to others may have room for what
//! waits there.
//!
//! A full queue from which one task has ended is mostly full again before other nodes are asked. So
//! they are looked at one after the other, and only as long as it hands out.

use chrono::{DateTime, Utc};

use crate::ids::NodeId;
use crate::market::Market;

impl Market {
    /// Gives every node with room for what waits in reopened queues one task after the other.
    pub(in crate::market) fn place_reopened(
        &mut self,
        ahead: bool,
        served: &mut Vec<NodeId>,
        now: DateTime<Utc>,
    ) {
        let mut has_placed = true;
        while has_placed {
            has_placed = false;
            let mut after = None;
            while let Some(node) = self.next_for_reopened(after, ahead) {
                // It is offered everything now, and stays open where only a share keeps it back.
                self.room.open(node);
                if self.place_one(node, ahead, now) {
                    served.push(node);
                    has_placed = true;
                }
                after = Some(node);
            }
        }
    }

    /// All nodes have been looked at for the queues that are open now.
    pub(in crate::market) fn forget_reopened(&mut self) {
        self.queues.reopened.clear();
    }

    fn next_for_reopened(&self, after: Option<NodeId>, ahead: bool) -> Option<NodeId> {
        let Self { queue, queues, nodes, room, .. } = self;
        if !queues.reopened.iter().any(|id| queue.has_waiting(*id)) {
            return None;
        }
        room.next(after, |id| {
            let mut demands = queues.reopened.iter().flat_map(|id| queue.demands_of(*id));
            nodes.get(&id).is_some_and(|node| demands.any(|of| node.can_take(of, ahead)))
        })
    }
}
