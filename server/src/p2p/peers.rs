//! Which node a peer is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use common::ids::NodeId;
use libp2p::PeerId;

use super::port::Port;
use crate::store;

/// The most peers remembered; beyond, all are forgotten and looked up again.
const KNOWN_MAX: usize = 16_384;
const TOKEN_BYTES_MAX: usize = 256;

/// Clones share the memory. A node keeps its peer id for ever, so what is remembered stays true.
#[derive(Clone)]
pub struct Peers<P> {
    port: P,
    known: Arc<Mutex<HashMap<PeerId, NodeId>>>,
}

impl<P: Port> Peers<P> {
    pub fn new(port: P) -> Self {
        Self { port, known: Arc::default() }
    }

    /// The node, if the peer has joined.
    pub async fn find(&self, peer: PeerId) -> Result<Option<NodeId>, store::Error> {
        // A map of plain values is whole whatever panicked.
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&peer).copied();
        if known.is_some() {
            return Ok(known);
        }
        let found = self.port.find(&peer.to_string()).await?;
        Ok(found.inspect(|node| self.remember(peer, *node)))
    }

    /// The node, joined by its token if it must be.
    pub async fn find_or_join(
        &self,
        peer: PeerId,
        token: Option<&str>,
    ) -> Result<Option<NodeId>, store::Error> {
        if let Some(node) = self.find(peer).await? {
            return Ok(Some(node));
        }
        let Some(token) = token.filter(|token| token.len() <= TOKEN_BYTES_MAX) else {
            return Ok(None);
        };
        let joined = self.port.join(&peer.to_string(), token).await?;
        Ok(joined.inspect(|node| {
            tracing::info!(%peer, %node, "node joined");
            self.remember(peer, *node);
        }))
    }

    fn remember(&self, peer: PeerId, node: NodeId) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(peer, node);
    }
}
