//! The hub: where nodes call. It knows who is calling and what they may touch, and passes on to
//! the coordinator and the data plane what has been checked. It takes no decision about work.

mod admission;
mod backend;
pub mod blob;
mod peer_limits;
mod peers;
mod refusal;
mod swarm;
pub mod sync;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use libp2p::{Multiaddr, PeerId};
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;
use crate::supervisor::Supervisor;
pub use admission::Limits;
pub use backend::{Parts, Port};

/// Where a server listens unless it is told otherwise.
pub const LISTEN: &str = "/ip4/0.0.0.0/tcp/8701";

#[derive(Debug, Clone)]
pub struct Options {
    /// Multiaddrs, such as `LISTEN`; port 0 picks one.
    pub listen: Vec<String>,
    /// Where the server's key is kept; made where it is missing.
    pub key_file: PathBuf,
    pub limits: Limits,
    pub metrics: Arc<Metrics>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0:?} is no multiaddr to listen on, such as {LISTEN}")]
    Address(String),
    #[error("the server cannot listen on {address}: {why}")]
    Listen { address: Multiaddr, why: String },
    #[error("{} holds no key that can be read; restore it, or remove it and tell all nodes the new address", path.display())]
    Key { path: PathBuf },
    #[error("the p2p transport cannot be built: {0}")]
    Transport(String),
    #[error("the key file cannot be read or written")]
    Io(#[from] io::Error),
}

type Addresses = Arc<Mutex<BTreeSet<Multiaddr>>>;

/// A running hub. It ends with its stop token, not with this handle.
pub struct Hub {
    peer: PeerId,
    addresses: Addresses,
    tasks: TaskTracker,
}

impl Hub {
    /// Starts to listen and to serve.
    pub async fn start(
        options: Options,
        parts: Parts,
        supervisor: Supervisor,
    ) -> Result<Self, Error> {
        Self::start_on(options, parts, supervisor).await
    }

    /// The same on any port to the rest of the server.
    pub async fn start_on<P: Port>(
        options: Options,
        port: P,
        supervisor: Supervisor,
    ) -> Result<Self, Error> {
        let listen: Vec<Multiaddr> = options
            .listen
            .iter()
            .map(|text| text.parse().map_err(|_| Error::Address(text.clone())))
            .collect::<Result<_, _>>()?;
        let key = identity::load_or_make(&options.key_file).map_err(|error| match error {
            identity::Error::Damaged => Error::Key { path: options.key_file.clone() },
            identity::Error::Io(error) => error.into(),
        })?;
        let metrics = options.metrics;
        let mut swarm = swarm::build(&key, options.limits, &metrics)?;
        let addresses = swarm::known(swarm::listen(&mut swarm, &listen).await?);
        let tasks = TaskTracker::new();
        let peers = peers::Peers::new(port.clone());
        let stored = blob::known_results::Stored::default();
        let syncs = sync::handler::SyncHandler {
            port: port.clone(),
            peers: peers.clone(),
            stored: stored.clone(),
            damage: blob::damage::Damage::default(),
            metrics: metrics.clone(),
        };
        let results = blob::result_index::Results::new(port.clone());
        let blobs = blob::handler::Blobs::new(port, peers, stored, results, metrics);
        let hub = Self {
            peer: key.public().to_peer_id(),
            addresses: addresses.clone(),
            tasks: tasks.clone(),
        };
        swarm::Host { swarm, syncs, blobs, addresses, tasks, supervisor }.start();
        for address in hub.addresses() {
            tracing::info!(address, "listening for nodes");
        }
        Ok(hub)
    }

    /// Where nodes can call, with the server's peer id.
    pub fn addresses(&self) -> Vec<String> {
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.iter().map(|address| format!("{address}/p2p/{}", self.peer)).collect()
    }

    /// Waits until the hub has stopped: no task of it runs, and its addresses are free.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }
}
