//! The donor's agent: dials a server, takes tasks, runs them in containers, and hands the
//! results back under a signed receipt. It knows nothing of accounts, money or other nodes.

mod agent;
mod attempt;
mod disk;
pub mod doctor;
mod files;
pub mod guest;
pub mod link;
mod logs;
mod machine;
mod metrics;
mod net;
pub mod own_task;
mod registry;
mod runtime;
mod server_client;
mod storage;
#[cfg(test)]
mod testing;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::compute::device::{Device, is_region};
use common::compute::resources::Resources;
use common::ids::NodeId;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

pub use crate::agent::{Ahead, IDLE_WAIT_MS, NotJoined};
use crate::attempt::Tools;
use crate::attempt::progress::Progress;
use crate::disk::Disk;
use crate::doctor::{Check, Severity};
use crate::files::data_dir::{self, DataDir};
use crate::files::users::{self, Users};
pub use crate::files::users::{IdRange, Jobs};
use crate::link::Link;
use crate::logs::LogBook;
use crate::machine::device;
use crate::machine::offers::{self, Offer, Wish};
use crate::metrics::{Metered, NodeMetrics};
use crate::net::ssrf_guard::SsrfGuard;
pub use crate::runtime::docker::Allowed;
use crate::runtime::docker::{Docker, Images, NotConnected};
use crate::runtime::warm::Pool;
pub use crate::server_client::transfer;
use crate::storage::caches::Caches;
pub use crate::storage::caches::Sizes as CacheSizes;
use crate::storage::packages::Packages;

/// Transfers to attempts at the same time, and as many attempts that store.
pub const TRANSFERS_AT_ONCE: usize = 8;

/// What a node is told by its owner.
#[derive(Debug, Clone)]
pub struct Options {
    /// Multiaddrs of the server, such as `/ip4/192.0.2.1/tcp/8701/p2p/12D3…`.
    pub server: Vec<String>,
    /// The one-time token that joins the node to its operator's workspace; needed once.
    pub token: Option<String>,
    /// The node's identity, its cache and its working folders. One node per folder.
    pub data_dir: PathBuf,
    /// What is lent of the CPUs. By default all that other nodes of this machine do not lend.
    pub cpu_millis: Option<u32>,
    /// The same of the memory: by default three quarters of it, less what others lend.
    pub memory_mib: Option<u32>,
    /// Nodes of this owner that all lend the same CPUs.
    pub cpu_sharers: u16,
    /// Where the nodes of this machine tell each other what they lend. By default a folder of the
    /// user's.
    pub runtime_dir: Option<PathBuf>,
    /// Tasks held beyond the capacity, so that their data arrives before their turn.
    pub prefetch: u32,
    /// Where the node is, such as `eu-central-1`; jobs may ask for a region. Empty is nowhere.
    pub region: String,
    /// The names of the GPUs that are lent, one for each; by default all that the driver knows.
    pub gpus: Option<Vec<String>>,
    /// Whether the buckets and registries that the server sends the node to may be at private and
    /// loopback addresses.
    pub allow_private_addresses: bool,
    /// Whether packages of every customer may run in the images of this machine's engine.
    pub local_images: bool,
    /// What containers may have beyond what sealed ones of packages have.
    pub allowed: Allowed,
    /// The users that containers run as, one for each workspace.
    pub container_uids: IdRange,
    /// Whose jobs the node runs: those of strangers need users of their own.
    pub jobs: Jobs,
    /// What the node may take of the disk.
    pub disk: DiskShare,
    /// What the caches of containers may take of it.
    pub caches: CacheSizes,
    /// What the owner calls this node. By default what they called it before.
    pub label: Option<String>,
    /// Where the metrics are served; by default nowhere.
    pub metrics_listen: Option<SocketAddr>,
}

/// What a node may take of the file system that its folder is on.
#[derive(Debug, Clone, Copy)]
pub struct DiskShare {
    /// The most bytes for everything that the node keeps and that tasks write. By default half of
    /// what is free, and of what the node has already, divided by `nodes`.
    pub bytes: Option<u64>,
    /// With fewer free bytes than this no task starts, and the one that has written most ends.
    pub keep_free: u64,
    /// Nodes that share this machine.
    pub nodes: u16,
}

/// The node cannot run, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    DataDir(#[from] data_dir::Error),
    #[error("region: {0:?} must be letters, digits, -, _ and ., at most 64")]
    Region(String),
    #[error(transparent)]
    Users(#[from] users::Error),
    #[error(transparent)]
    Unusable(#[from] NotConnected),
    #[error("the container engine fails")]
    Engine(#[from] runtime::Error),
    #[error("the caches cannot be opened")]
    Cache(#[source] std::io::Error),
    #[error("the data folder's file system does not tell how much is free")]
    Disk(#[source] std::io::Error),
    #[error("the address for metrics cannot be used: --metrics-listen names another one")]
    Metrics(#[source] std::io::Error),
    #[error("the label cannot be kept in the data folder")]
    Label(#[source] std::io::Error),
    #[error(transparent)]
    Offer(#[from] offers::Error),
    #[error("the link to the server cannot be started")]
    Link(#[from] link::Error),
    #[error(transparent)]
    Refused(#[from] NotJoined),
}

impl Error {
    /// What is wrong with the node's key, where it is that: other nodes of the process can go on.
    pub fn of_key(&self) -> Option<String> {
        if let Self::Link(error @ link::Error::Key { .. }) = self {
            Some(error.to_string())
        } else {
            None
        }
    }
}

/// Every metric of a node, for the documents.
pub fn metrics() -> Vec<instruments::Description> {
    NodeMetrics::new().descriptions().to_vec()
}

/// Does everything a donor node does until it is stopped or refused. It reconnects without end.
///
/// # Errors
///
/// Where the server refuses the node, and at the start: where the region is not a name, where the
/// data folder is in use or not writable, where no container engine answers or it cannot confine
/// containers, or where a server's address is invalid.
pub async fn run(options: Options, stop: CancellationToken) -> Result<(), Error> {
    if !options.region.is_empty() && !is_region(&options.region) {
        return Err(Error::Region(options.region));
    }
    let data_dir = DataDir::open(&options.data_dir)?;
    let metrics = NodeMetrics::served(options.metrics_listen, &stop).await;
    let metrics = metrics.map_err(Error::Metrics)?;
    let label = data_dir.named(options.label.as_deref()).map_err(Error::Label)?;
    let limits = data_dir.limits(options.disk).map_err(Error::Disk)?;
    let guard = SsrfGuard::new(options.allow_private_addresses);
    let images = Images::new(guard, options.local_images, limits.kept());
    let users = Users::new(&data_dir, options.container_uids, options.jobs)?;
    let allowed = options.allowed.clone().of_root(data_dir.owner().uid == 0);
    let engine = Docker::connect(data_dir.label(), users, images, allowed).await?;
    warn_of(&options.data_dir, users).await;
    engine.find_images().await?;
    remove_leftovers(&engine).await?;
    let machine = engine.machine().await?;
    let offer = take_offer(&options, &machine)?;
    let capacity = offer.capacity();
    let found = device::found_gpus();
    let gpus = match &options.gpus {
        Some(names) => device::named_gpus(names, found),
        None => found,
    };
    let device = device::described(machine, label, options.region, &gpus);
    let device = Device { grants: engine.grants(), ..device };
    let disk = Disk::open(&data_dir.work(), limits).map_err(Error::Disk)?;
    let most = limits.kept();
    let packages =
        Packages::open(&data_dir, storage::packages::BYTES_MAX.min(most)).map_err(Error::Cache)?;
    let caches = Caches::open(&data_dir, options.caches.at_most(most)).map_err(Error::Cache)?;
    let warm = Pool::open(&data_dir.work(), &data_dir.temporary()).map_err(Error::Cache)?;
    // Of its own, so that the link outlives the agent's last message.
    let link_stop = CancellationToken::new();
    let _link_stop = link_stop.clone().drop_guard();
    let link = Link::start(
        link::Options {
            server: options.server,
            key_file: data_dir.key_file(),
            allow_private_addresses: options.allow_private_addresses,
        },
        link_stop,
    )?;
    let node = NodeId::of_peer(&link.peer_id());
    announce(node, &device, capacity, &options.data_dir, limits);
    let connection = link.clone();
    let tools = Arc::new(Tools {
        remote: Metered::new(link, Arc::clone(&metrics)),
        data_dir,
        packages,
        caches,
        engine,
        warm,
        logs: LogBook::default(),
        downloads: Semaphore::new(TRANSFERS_AT_ONCE),
        uploads: Semaphore::new(TRANSFERS_AT_ONCE),
        disk,
        metrics: Arc::clone(&metrics),
        progress: Progress::default(),
    });
    metrics.watch(Arc::downgrade(&tools), move || connection.is_connected());
    let lending =
        agent::Lending { token: options.token, capacity, prefetch: options.prefetch, device, gpus };
    let span = tracing::error_span!("node", %node);
    let end = agent::run(lending, Arc::clone(&tools), stop).instrument(span).await;
    tools.engine.remove_leftovers().await?;
    tracing::info!(%node, "node stopped");
    Ok(end?)
}

/// Removes the containers of an earlier process of this node.
async fn remove_leftovers(engine: &Docker) -> Result<(), Error> {
    let left = engine.remove_leftovers().await?;
    if left > 0 {
        tracing::info!(left, "containers of an earlier process removed");
    }
    Ok(())
}

/// Tells the owner what would protect the machine better.
async fn warn_of(data_dir: &Path, users: Users) {
    let mut checks = doctor::examine().await;
    checks.push(doctor::data_dir(data_dir));
    checks.retain(|check| check.severity == Severity::Warning);
    for Check { name, found, advice, .. } in checks {
        tracing::warn!(name, found, advice, "this machine can be protected better");
    }
    if let Users::Own(user) = users {
        tracing::warn!(%user, "containers run as the node's own user: only for jobs that you trust");
    }
}

fn announce(
    node: NodeId,
    device: &Device,
    capacity: Resources,
    folder: &Path,
    limits: disk::Limits,
) {
    tracing::info!(
        %node,
        label = device.label,
        cpu_millis = capacity.cpu_millis,
        memory_mib = capacity.memory_mib,
        gpus = device.gpus.len(),
        folder = %folder.display(),
        disk_mib = limits.budget >> 20,
        keep_free_mib = limits.keep_free >> 20,
        "node started: inputs, results, packages and caches lie in its folder, images with the engine"
    );
}

/// Takes this node's place among the nodes of this machine.
fn take_offer(options: &Options, machine: &Device) -> Result<Offer, Error> {
    let wish = Wish {
        cpu_millis: options.cpu_millis,
        memory_mib: options.memory_mib,
        cpu_sharers: options.cpu_sharers,
        machine: lent(machine),
    };
    let runtime_dir = options.runtime_dir.clone().unwrap_or_else(offers::runtime_dir);
    let offer = Offer::take(&runtime_dir, &options.data_dir, wish)?;
    let all = Resources::new(machine.cores.saturating_mul(1000), machine.memory_mib);
    if options.cpu_sharers <= 1
        && let Some(others) = offer.conflict(all)
    {
        tracing::warn!(
            others = others.nodes,
            "the nodes of this machine offer more than it has together: --cpus and --memory say less"
        );
    }
    Ok(offer)
}

/// What a machine lends where its owner does not say.
fn lent(machine: &Device) -> Resources {
    Resources::new(machine.cores.saturating_mul(1000), machine.memory_mib / 4 * 3)
}
