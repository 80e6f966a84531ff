//! Which nodes may have room for what waits, so that nothing that happens walks over all nodes.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::node::Node;
use super::queue::ClassId;
use crate::ids::NodeId;
use crate::market::Market;

/// The nodes that may have room. All others cannot take one more task of any class.
#[derive(Debug, Default)]
pub(in crate::market) struct Room {
    /// Those that are to be offered what waits.
    open: BTreeSet<NodeId>,
    /// Those that were offered everything that waited, and have room for more.
    idle: BTreeSet<NodeId>,
    /// The classes of which a stage has begun to wait since then.
    appeared: BTreeSet<ClassId>,
}

impl Room {
    /// Something about the node has changed: it is to be offered everything.
    pub fn open(&mut self, node: NodeId) {
        self.idle.remove(&node);
        self.open.insert(node);
    }

    /// Something has changed for all nodes.
    pub fn open_all(&mut self) {
        self.open.append(&mut self.idle);
    }

    /// The nodes that are to be offered what waits.
    pub fn opened(&self) -> impl Iterator<Item = NodeId> {
        self.open.iter().copied()
    }

    /// A stage of this class has a task to hand out that had none.
    pub fn note_appeared(&mut self, class: ClassId) {
        self.appeared.insert(class);
    }

    /// All nodes that may have room have been offered what has appeared.
    pub fn forget_appeared(&mut self) {
        self.appeared.clear();
    }

    /// The first open node after this one.
    pub fn next_open(&self, after: Option<NodeId>) -> Option<NodeId> {
        following(&self.open, after).next()
    }

    /// The first node after this one that may have room.
    pub fn next(&self, after: Option<NodeId>, fit: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let first = |nodes| following(nodes, after).find(|node| fit(*node));
        first(&self.open).into_iter().chain(first(&self.idle)).min()
    }

    /// The node has been offered everything.
    pub fn close(&mut self, node: NodeId, has_room: bool) {
        self.open.remove(&node);
        if has_room {
            self.idle.insert(node);
        }
    }

    /// The node is gone.
    pub fn forget(&mut self, node: NodeId) {
        self.close(node, false);
        self.idle.remove(&node);
    }
}

fn following(nodes: &BTreeSet<NodeId>, after: Option<NodeId>) -> impl Iterator<Item = NodeId> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    nodes.range((from, Bound::Unbounded)).copied()
}

impl Market {
    /// The first idle node after this one that has room for what has appeared.
    pub(super) fn next_for_appeared(&self, after: Option<NodeId>, ahead: bool) -> Option<NodeId> {
        let Self { room, nodes, queue, .. } = self;
        if room.appeared.is_empty() {
            return None;
        }
        following(&room.idle, after).find(|id| {
            let mut demands = room.appeared.iter().filter_map(|class| queue.demand_of(*class));
            nodes.get(id).is_some_and(|node| demands.any(|of| node.can_take(of, ahead)))
        })
    }

    /// Tasks of a new class wait, or will: nodes that are full for all others may have room.
    pub(super) fn find_room_for(&mut self, class: ClassId) {
        let Self { room, nodes, queue, .. } = self;
        let Some(demand) = queue.demand_of(class) else { return };
        let closed = nodes.iter().filter(|(id, _)| !room.open.contains(id));
        let fits = closed.filter(|(_, node)| node.can_take(demand, true));
        let fits: Vec<NodeId> = fits.map(|(id, _)| *id).collect();
        room.idle.extend(fits);
    }

    /// Compares which nodes are kept as those with room with which have some.
    pub(in crate::market) fn check_room(&self) -> Result<(), String> {
        let has_room = |node: &Node| self.queue.demands().any(|of| node.can_take(of, true));
        let is_kept = |id| self.room.open.contains(id) || self.room.idle.contains(id);
        match self.nodes.iter().find(|(id, node)| has_room(node) && !is_kept(id)) {
            Some((id, _)) => Err(format!("{id:?} has room, and is not kept as such")),
            None => Ok(()),
        }
    }
}
