//! Which node a peer is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use common::digest::Digest;
use common::ids::NodeId;
use libp2p::PeerId;

use super::admission::{Network, Refusals};
use super::backend::Port;
use crate::store;

/// The most peers remembered; beyond, all are forgotten and looked up again.
const KNOWN_MAX: usize = 16_384;
const TOKEN_BYTES_MAX: usize = 256;

/// Clones share the memory. A node's peer id never changes, so what is remembered stays
/// true until the node is removed.
#[derive(Clone)]
pub struct Peers<P> {
    port: P,
    known: Arc<Mutex<HashMap<PeerId, NodeId>>>,
    refusals: Arc<Mutex<Refusals>>,
}

impl<P: Port> Peers<P> {
    pub fn new(port: P) -> Self {
        Self { port, known: Arc::default(), refusals: Arc::default() }
    }

    /// The node, if it is known without a look-up that the peer has joined.
    pub fn known(&self, peer: PeerId) -> Option<NodeId> {
        lock(&self.known).get(&peer).copied()
    }

    /// The node, if the peer has joined.
    pub async fn find(&self, peer: PeerId) -> Result<Option<NodeId>, store::Error> {
        if let Some(known) = self.known(peer) {
            return Ok(Some(known));
        }
        let found = self.port.find(&peer.to_string()).await?;
        Ok(found.inspect(|node| self.remember(peer, *node)))
    }

    /// The node, joined by its token if it must be. A peer that was refused a short time ago is
    /// refused again without a look-up.
    pub async fn find_or_join(
        &self,
        peer: PeerId,
        network: Network,
        token: Option<&str>,
    ) -> Result<Option<NodeId>, store::Error> {
        if let Some(known) = self.known(peer) {
            return Ok(Some(known));
        }
        let token = token.filter(|token| token.len() <= TOKEN_BYTES_MAX);
        let shown = token.map(|token| Digest::of(token.as_bytes()));
        if let Some(why) = lock(&self.refusals).known(peer, network, shown, Instant::now()) {
            tracing::debug!(%peer, ?why, "node refused again");
            return Ok(None);
        }
        if let Some(node) = self.find(peer).await? {
            return Ok(Some(node));
        }
        let joined = match token {
            Some(token) => self.port.join(&peer.to_string(), token).await?,
            None => None,
        };
        if let Some(node) = joined {
            tracing::info!(%peer, %node, "node joined");
            self.remember(peer, node);
        } else {
            tracing::info!(%peer, had_token = token.is_some(), "unknown node refused");
            lock(&self.refusals).remember(peer, network, shown, Instant::now());
        }
        Ok(joined)
    }

    /// Looks the peer up again: its node was removed.
    pub fn forget(&self, peer: PeerId) {
        lock(&self.known).remove(&peer);
    }

    fn remember(&self, peer: PeerId, node: NodeId) {
        let mut known = lock(&self.known);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(peer, node);
    }
}

/// What is kept here is whole after each line, whatever panicked.
fn lock<T>(memory: &Mutex<T>) -> MutexGuard<'_, T> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}
