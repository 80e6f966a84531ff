//! A hub in a world of its own, and nodes that call it over loopback.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Result, bail};
use common::run::task::Lease;
use node::link::{self, Link};
use server::coordinator::leases::LiveInputs;
use server::metrics::Metrics;
use server::p2p::{self, Hub, Limits};
use server::supervisor::Supervisor;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::world::{World, table};

/// A hub, nodes, and the folder of their keys; all ends with it.
pub struct Set {
    pub world: World,
    pub hub: Hub,
    pub folder: tempfile::TempDir,
    pub stop: CancellationToken,
    _guard: DropGuard,
}

impl Set {
    pub async fn new() -> Result<Self> {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Result<Self> {
        // The second test in the same process finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (folder, world) = (tempfile::tempdir()?, World::default());
        let stop = CancellationToken::new();
        let hub = hub_with(folder.path(), "/ip4/127.0.0.1/tcp/0", &world, &stop, limits).await?;
        Ok(Self { world, hub, folder, _guard: stop.clone().drop_guard(), stop })
    }

    pub fn link(&self, name: &str) -> Result<Link> {
        self.link_to(name, self.hub.addresses())
    }

    pub fn link_to(&self, name: &str, server: Vec<String>) -> Result<Link> {
        let key_file = self.folder.path().join(name);
        let options = link::Options { server, key_file, allow_private_addresses: true };
        Ok(Link::start(options, self.stop.child_token())?)
    }

    /// A node that has joined and holds a lease on these inputs.
    pub fn holder(&self, lease: Lease, inputs: LiveInputs) -> Result<Link> {
        let link = self.link("holder.key")?;
        let node = self.world.join_now(&link.peer_id());
        self.world.grant(node, lease, inputs);
        Ok(link)
    }

    pub fn file(&self, bytes: &[u8]) -> Result<tempfile::NamedTempFile> {
        let mut file = tempfile::NamedTempFile::new_in(self.folder.path())?;
        file.write_all(bytes)?;
        Ok(file)
    }
}

pub async fn hub(
    folder: &Path,
    listen: &str,
    world: &World,
    stop: &CancellationToken,
) -> Result<Hub> {
    hub_with(folder, listen, world, stop, Limits::default()).await
}

/// The same with other limits of connections.
pub async fn hub_with(
    folder: &Path,
    listen: &str,
    world: &World,
    stop: &CancellationToken,
    limits: Limits,
) -> Result<Hub> {
    let options = p2p::Options {
        listen: vec![listen.to_owned()],
        key_file: folder.join("server.key"),
        limits,
        metrics: Metrics::new(),
    };
    Ok(Hub::start_on(options, world.clone(), Supervisor::new(stop.clone())).await?)
}

pub fn chunk() -> LiveInputs {
    LiveInputs::Chunk { table: table(10, 4), index: 1 }
}

pub fn refusal<T>(answer: Result<T, link::Error>) -> Result<(String, bool)> {
    match answer {
        Err(link::Error::Refused { message, again }) => Ok((message, again)),
        Err(link::Error::Bucket(error)) => Ok((error.to_string(), error.again())),
        Err(error @ link::Error::BucketAway) => Ok((error.to_string(), error.again())),
        Err(error) => bail!("not a refusal: {error}"),
        Ok(_) => bail!("not refused"),
    }
}
