//! Who may be connected: strangers have few places and little time, and never take those of nodes
//! that have joined.
//!
//! Pure: the time and the events are given, so that floods can be tested without a network.

mod behaviour;
mod network;
mod refusals;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

pub use behaviour::Behaviour;
pub use network::Network;
pub use refusals::Refusals;

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections whose peer has not proven its key yet, from everywhere and from one network.
    pub pending: usize,
    pub pending_per_network: usize,
    /// The same from a network from which a node has joined.
    pub pending_per_known_network: usize,
    /// Connections of peers that have not joined, from everywhere and from one network.
    pub strangers: usize,
    pub strangers_per_network: usize,
    /// Connections of nodes that have joined.
    pub joined: usize,
    /// More than one, because the old connection of a node that lost its network ends late.
    pub per_peer: usize,
    /// A peer that has not joined by then is disconnected.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pending: 1_024,
            pending_per_network: 32,
            pending_per_known_network: 256,
            strangers: 512,
            strangers_per_network: 16,
            joined: 8_192,
            per_peer: 4,
            patience: Duration::from_secs(15),
        }
    }
}

/// A refused peer keeps its connection for this long, so that the answer reaches it.
const FAREWELL: Duration = Duration::from_secs(1);
/// The most peers and networks remembered as joined; beyond, all are forgotten. A forgotten node
/// is a stranger until its next message.
const JOINED_MAX: usize = 32_768;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("too many connections are being made at once")]
    Pending,
    #[error("too many connections are being made at once from this network")]
    PendingNetwork,
    #[error("this peer has too many connections")]
    Peer,
    #[error("too many nodes are connected")]
    Joined,
}

#[derive(Debug, Clone, Copy)]
struct Connection {
    peer: PeerId,
    network: Network,
    /// Of a stranger: when it is disconnected.
    deadline: Option<Instant>,
}

/// All connections, and who has joined.
pub struct Admission {
    limits: Limits,
    pending: HashMap<ConnectionId, Network>,
    pending_of: HashMap<Network, usize>,
    open: HashMap<ConnectionId, Connection>,
    of_peer: HashMap<PeerId, BTreeSet<ConnectionId>>,
    /// By the end of their time: the first is the oldest.
    strangers: BTreeSet<(Instant, ConnectionId)>,
    strangers_of: HashMap<Network, BTreeSet<(Instant, ConnectionId)>>,
    joined: HashSet<PeerId>,
    /// Those of them that have a connection.
    nodes: HashSet<PeerId>,
    known: HashSet<Network>,
}

impl Admission {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            pending: HashMap::new(),
            pending_of: HashMap::new(),
            open: HashMap::new(),
            of_peer: HashMap::new(),
            strangers: BTreeSet::new(),
            strangers_of: HashMap::new(),
            joined: HashSet::new(),
            nodes: HashSet::new(),
            known: HashSet::new(),
        }
    }

    /// A connection begins; its peer is not known yet.
    pub fn begin(&mut self, id: ConnectionId, network: Network) -> Result<(), Denied> {
        let of_network = self.pending_of.get(&network).copied().unwrap_or(0);
        let most = if self.known.contains(&network) {
            self.limits.pending_per_known_network
        } else {
            self.limits.pending_per_network
        };
        if of_network >= most {
            return Err(Denied::PendingNetwork);
        }
        if self.pending.len() >= self.limits.pending {
            return Err(Denied::Pending);
        }
        self.pending.insert(id, network);
        self.pending_of.insert(network, of_network + 1);
        Ok(())
    }

    /// A peer has proven its key. Gives back the connections that must make room for it.
    pub fn establish(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        network: Network,
        now: Instant,
    ) -> Result<Vec<(PeerId, ConnectionId)>, Denied> {
        self.end_pending(id);
        if self.of_peer.get(&peer).is_some_and(|open| open.len() >= self.limits.per_peer) {
            return Err(Denied::Peer);
        }
        let (deadline, evicted) = if self.joined.contains(&peer) {
            if self.open.len() - self.strangers.len() >= self.limits.joined {
                return Err(Denied::Joined);
            }
            self.nodes.insert(peer);
            (None, Vec::new())
        } else {
            let evicted = self.make_room(network);
            let deadline = now + self.limits.patience;
            self.strangers.insert((deadline, id));
            self.strangers_of.entry(network).or_default().insert((deadline, id));
            (Some(deadline), evicted)
        };
        self.open.insert(id, Connection { peer, network, deadline });
        self.of_peer.entry(peer).or_default().insert(id);
        Ok(evicted)
    }

    /// Removes the oldest strangers so that one more has a place.
    fn make_room(&mut self, network: Network) -> Vec<(PeerId, ConnectionId)> {
        let of_network = self.strangers_of.get(&network);
        let crowded = of_network.is_some_and(|of| of.len() >= self.limits.strangers_per_network);
        let oldest = if crowded {
            of_network.and_then(|of| of.first())
        } else if self.strangers.len() >= self.limits.strangers {
            self.strangers.first()
        } else {
            None
        };
        oldest.copied().and_then(|(_, id)| self.end(id)).into_iter().collect()
    }

    /// A peer has joined: its connections are no stranger's.
    pub fn join(&mut self, peer: PeerId) {
        for id in self.of_peer.get(&peer).cloned().unwrap_or_default() {
            self.set_deadline(id, None);
            if let Some(connection) = self.open.get(&id) {
                if self.known.len() >= JOINED_MAX {
                    self.known.clear();
                }
                self.known.insert(connection.network);
            }
        }
        if self.joined.len() >= JOINED_MAX {
            self.joined.clear();
        }
        self.joined.insert(peer);
        if self.of_peer.contains_key(&peer) {
            self.nodes.insert(peer);
        }
    }

    /// A peer was refused: it is disconnected as soon as it can have read why.
    pub fn refuse(&mut self, peer: PeerId, now: Instant) {
        self.nodes.remove(&peer);
        for id in self.of_peer.get(&peer).cloned().unwrap_or_default() {
            self.set_deadline(id, Some(now + FAREWELL));
        }
    }

    pub fn has_joined(&self, peer: &PeerId) -> bool {
        self.joined.contains(peer)
    }

    /// How many nodes are connected.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// From where a connection comes.
    pub fn network(&self, id: ConnectionId) -> Option<Network> {
        self.open.get(&id).map(|connection| connection.network)
    }

    /// A connection has ended, or has never been made.
    pub fn end(&mut self, id: ConnectionId) -> Option<(PeerId, ConnectionId)> {
        self.end_pending(id);
        self.set_deadline(id, None);
        let connection = self.open.remove(&id)?;
        if let Some(open) = self.of_peer.get_mut(&connection.peer) {
            open.remove(&id);
            if open.is_empty() {
                self.of_peer.remove(&connection.peer);
                self.nodes.remove(&connection.peer);
            }
        }
        Some((connection.peer, id))
    }

    /// Takes the strangers whose time is over.
    pub fn overdue(&mut self, now: Instant) -> Vec<(PeerId, ConnectionId)> {
        let over: Vec<ConnectionId> = self
            .strangers
            .iter()
            .take_while(|(deadline, _)| *deadline <= now)
            .map(|(_, id)| *id)
            .collect();
        over.into_iter().filter_map(|id| self.end(id)).collect()
    }

    /// When the next stranger's time is over.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.strangers.first().map(|(deadline, _)| *deadline)
    }

    fn end_pending(&mut self, id: ConnectionId) {
        let Some(network) = self.pending.remove(&id) else { return };
        if let Some(count) = self.pending_of.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.pending_of.remove(&network);
            }
        }
    }

    fn set_deadline(&mut self, id: ConnectionId, deadline: Option<Instant>) {
        let Some(connection) = self.open.get_mut(&id) else { return };
        let network = connection.network;
        if let Some(old) = std::mem::replace(&mut connection.deadline, deadline) {
            self.strangers.remove(&(old, id));
            if let Some(of_network) = self.strangers_of.get_mut(&network) {
                of_network.remove(&(old, id));
                if of_network.is_empty() {
                    self.strangers_of.remove(&network);
                }
            }
        }
        if let Some(new) = deadline {
            self.strangers.insert((new, id));
            self.strangers_of.entry(network).or_default().insert((new, id));
        }
    }
}

#[cfg(test)]
mod tests;
