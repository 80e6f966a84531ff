//! Nodes as their operator sees them: whether they are there, what they do, and why they have no
//! work.

use chrono::{DateTime, Utc};

use super::node::Node;
use super::waiting::Obstacles;
use crate::compute::resources::Resources;
use crate::ids::NodeId;
use crate::market::Market;

/// Runs that are looked at to say why a node gets none of their tasks.
const RUNS_MAX: usize = 16;

/// A node at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeView {
    pub id: NodeId,
    /// When its last message came, or when it was last waited for.
    pub heard_at: Option<DateTime<Utc>>,
    /// What it does; `None` for one that is silent.
    pub live: Option<Live>,
}

/// What a node that is heard does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    pub capacity: Resources,
    pub used: Resources,
    pub tasks: usize,
    /// Why it has no task.
    pub idle: Option<Idle>,
}

/// Why a node has no task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one for each node that is looked at")]
pub enum Idle {
    /// Its operator has given false results.
    Barred(DateTime<Utc>),
    /// It failed the last probe, and is asked for another.
    FailedProbe,
    /// Its container engine does not answer.
    EngineAway,
    NoWork,
    /// Of the first runs that wait, this many can have no task there, each for its first reason.
    Unfit {
        runs: usize,
        obstacles: Obstacles,
        aside_until: Option<DateTime<Utc>>,
    },
    /// A task is about to be handed out.
    Soon,
}

impl Market {
    /// These nodes as they are now.
    pub fn nodes_of(&self, ids: &[NodeId], now: DateTime<Utc>) -> Vec<NodeView> {
        ids.iter().map(|id| self.view(*id, now)).collect()
    }

    fn view(&self, id: NodeId, now: DateTime<Utc>) -> NodeView {
        let Some(node) = self.nodes.get(&id) else {
            return NodeView { id, heard_at: self.gone.get(&id).copied(), live: None };
        };
        let live = node.is_present(now).then(|| Live {
            capacity: node.capacity,
            used: node.used,
            tasks: node.leased.len(),
            idle: node.leased.is_empty().then(|| self.idle(id, node, now)),
        });
        NodeView { id, heard_at: node.heard[1], live }
    }

    fn idle(&self, id: NodeId, node: &Node, now: DateTime<Utc>) -> Idle {
        if let Some(until) = node.barred_until.filter(|until| *until > now) {
            return Idle::Barred(until);
        }
        if node.health.has_failed_probe() {
            return Idle::FailedProbe;
        }
        if node.engine_away {
            return Idle::EngineAway;
        }
        let (mut obstacles, mut runs) = (Obstacles::default(), 0);
        for place in self.queue.places(RUNS_MAX) {
            let Some(stage) = self.stage(place) else { continue };
            match self.obstacle(stage, id, node, now, &mut obstacles) {
                Some(count) => *count += 1,
                None => return Idle::Soon,
            }
            runs += 1;
        }
        match runs {
            0 => Idle::NoWork,
            _ => Idle::Unfit { runs, obstacles, aside_until: node.health.aside_until(now) },
        }
    }

    /// Takes a node out of the market for good: its tasks go elsewhere.
    pub fn remove_node(&mut self, id: NodeId, now: DateTime<Utc>) {
        self.end_node(id, "its operator has removed it", now);
        self.gone.remove(&id);
    }
}
