//! A node of the benchmark's own, with containers.

use std::path::Path;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::fleet;
use super::server_process::World;
use crate::client::failure::Failure;

/// A node in this process. It stops when it is dropped.
pub struct RealNode {
    running: JoinHandle<Result<(), node::Error>>,
    stop: DropGuard,
}

impl RealNode {
    /// Starts a node that lends so many cores, each for one task, and keeps its data in `folder`.
    pub async fn start(world: &World, folder: &Path, cores: u32) -> Result<Self, Failure> {
        let options = options(world, folder, cores).await?;
        let stop = CancellationToken::new();
        let running = tokio::spawn(node::run(options, stop.clone()));
        Ok(Self { running, stop: stop.drop_guard() })
    }

    /// Stops the node, and says what made it stop before.
    pub async fn stop(self) -> Result<(), Failure> {
        drop(self.stop);
        match self.running.await {
            Ok(Err(error)) => Err(Failure::caused("the node stopped", &error)),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

async fn options(world: &World, folder: &Path, cores: u32) -> Result<node::Options, Failure> {
    Ok(node::Options {
        server: world.addresses.clone(),
        token: Some(fleet::token(&world.session).await?),
        data_dir: folder.join("data"),
        cpu_millis: Some(cores * 1000),
        memory_mib: Some(cores * 1024),
        cpu_sharers: 1,
        runtime_dir: Some(folder.join("machine")),
        prefetch: crate::commands::daemon::PREFETCH,
        region: String::new(),
        gpus: Some(Vec::new()),
        allow_private_addresses: false,
        // The benchmarks' own images alone run there.
        allowed: node::Allowed { plain: true, ..node::Allowed::default() },
        container_uids: node::IdRange::default(),
        jobs: node::Jobs::OfOne,
        disk: node::DiskShare { bytes: Some(256 << 30), keep_free: 0, nodes: 1 },
        local_images: false,
        caches: node::CacheSizes::default(),
        label: Some("bench".to_owned()),
        metrics_listen: None,
    })
}
