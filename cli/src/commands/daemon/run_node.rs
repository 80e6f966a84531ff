//! `fanfold node`: lends this machine to a server.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Subcommand;

use super::{capacity, disk, doctor, folder, signals};
use crate::client::failure::Failure;
use crate::client::session::Session;
use crate::log;

/// Tasks whose data a node fetches before it is their turn.
pub const PREFETCH: u32 = 2;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    chore: Option<Chore>,
    /// Where the server listens for nodes, such as /ip4/203.0.113.7/tcp/8701; may be repeated
    #[arg(long = "server", required = true, value_name = "MULTIADDR", value_parser = multiaddr)]
    servers: Vec<String>,
    /// One-time token from `fanfold node token`; needed only to join
    #[arg(long, env = "FANFOLD_NODE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Folder for the node's key and cache
    #[arg(long, required = true)]
    data_dir: Option<PathBuf>,
    /// Let the buckets and registries that the server sends the node to be at private and loopback
    /// addresses
    #[arg(long, env = "FANFOLD_DATA__ALLOW_PRIVATE_ADDRESSES")]
    allow_private_addresses: bool,
    /// The most that each workspace's cache may take of the disk, in GiB
    #[arg(long, default_value_t = 10, value_name = "GIB", value_parser = clap::value_parser!(u64).range(0..=1 << 20))]
    user_cache: u64,
    /// The most that the cache for everybody may take of the disk, in GiB
    #[arg(long, default_value_t = 50, value_name = "GIB", value_parser = clap::value_parser!(u64).range(0..=1 << 20))]
    shared_cache: u64,
    /// Users and groups that containers run as, one for each workspace: numbers that no user has
    #[arg(long, env = "FANFOLD_NODE_CONTAINER_UIDS", default_value_t, value_name = "FIRST-LAST")]
    container_uids: node::IdRange,
    /// Without root's rights, run all containers as your own user: only for jobs that you trust
    #[arg(long)]
    run_as_own_user: bool,
    #[command(flatten)]
    capacity: capacity::Offered,
    #[command(flatten)]
    disk: disk::Lent,
    #[command(flatten)]
    place: Place,
    /// What the node is called in lists [default: what it was called before]
    #[arg(long)]
    label: Option<String>,
    /// Address on which GET /metrics gives the node's metrics to Prometheus, such as
    /// 127.0.0.1:9464; port 0 picks a free one [default: none]
    #[arg(long, env = "FANFOLD_NODE_METRICS_LISTEN", value_name = "ADDRESS")]
    metrics_listen: Option<SocketAddr>,
    #[command(flatten)]
    pub log: log::Options,
}

/// What is done beside running a node.
#[derive(Debug, Subcommand)]
enum Chore {
    /// Check whether this machine can run strangers' code; exit code 5 where a node would
    /// refuse to start
    Doctor(doctor::Args),
    /// List the workspace's nodes: whether each is online, what it lends, what it has done
    List,
    /// Show one node, or all, with why it has no work
    Status { id: Option<String> },
    /// Remove a node: the server refuses it from now on
    Remove { id: String },
    /// Print the command with which a node joins, with a one-time token
    Token,
}

/// What a node says of itself, beside its size.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// Where this machine is, such as eu-central-1: jobs may ask for a region
    #[arg(long, env = "FANFOLD_NODE_REGION", default_value = "")]
    pub region: String,
    /// Name of a GPU to lend, once for each; by default all that NVIDIA's driver knows
    #[arg(long = "gpu", env = "FANFOLD_NODE_GPUS", value_delimiter = ',', value_name = "NAME")]
    pub gpus: Option<Vec<String>>,
    /// Let containers run as their images' makers meant them: as the image's own user, root too,
    /// and with a root that can be written to
    #[arg(long, env = "FANFOLD_NODE_ALLOW_PLAIN")]
    pub allow_plain: bool,
    /// Network of this machine's engine for containers that ask for one, such as bridge: they
    /// reach all that it reaches [default: none]
    #[arg(long, env = "FANFOLD_NODE_CONTAINER_NETWORK", value_name = "NAME", value_parser = network)]
    pub container_network: Option<String>,
    /// Let packages of every customer of the server run in images of this machine's engine, named
    /// localhost/NAME; only for a server of your own
    #[arg(long, env = "FANFOLD_NODE_LOCAL_IMAGES")]
    pub local_images: bool,
}

impl Place {
    /// What containers may have beyond what sealed ones of packages have.
    pub fn allowed(&self) -> node::Allowed {
        node::Allowed { plain: self.allow_plain, network: self.container_network.clone() }
    }
}

pub async fn run(
    args: Args,
    session: impl FnOnce() -> Result<Session, Failure>,
) -> Result<(), Failure> {
    match args.chore {
        Some(Chore::Doctor(args)) => return doctor::run(args).await,
        Some(Chore::List) => return crate::commands::nodes::list(&session()?).await,
        Some(Chore::Status { id }) => {
            return crate::commands::nodes::status(id.as_deref(), &session()?).await;
        }
        Some(Chore::Remove { id }) => {
            return crate::commands::nodes::remove(&id, &session()?).await;
        }
        Some(Chore::Token) => return crate::commands::nodes::token(&session()?).await,
        None => {}
    }
    let stop = signals::stop()?;
    let data_dir = args.data_dir.unwrap_or_default();
    folder::make_private(&data_dir)?;
    let allowed = args.place.allowed();
    let options = node::Options {
        server: args.servers,
        token: args.token,
        data_dir,
        cpu_millis: args.capacity.cpu_millis,
        memory_mib: args.capacity.memory_mib,
        cpu_sharers: 1,
        runtime_dir: args.capacity.runtime_dir,
        prefetch: PREFETCH,
        region: args.place.region,
        gpus: args.place.gpus,
        allow_private_addresses: args.allow_private_addresses,
        allowed,
        container_uids: args.container_uids,
        jobs: if args.run_as_own_user { node::Jobs::OfOne } else { node::Jobs::OfStrangers },
        disk: args.disk.share(1),
        local_images: args.place.local_images,
        caches: node::CacheSizes {
            user_bytes: args.user_cache << 30,
            shared_bytes: args.shared_cache << 30,
        },
        label: args.label,
        metrics_listen: args.metrics_listen,
    };
    node::run(options, stop).await.map_err(|error| {
        if let node::Error::Refused(refused) = error {
            return Failure::Unauthorised(refused.to_string());
        }
        Failure::caused("the node stopped", &error)
    })
}

/// Where a server listens for nodes; what is wrong with another text.
fn multiaddr(text: &str) -> Result<String, String> {
    node::link::check_address(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// A network of an engine; what is wrong with another text. The host's own would be no network of
/// containers, and that of a container is not named.
fn network(text: &str) -> Result<String, String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    let is_name = !text.is_empty() && text.bytes().all(is_plain);
    if !is_name || ["host", "none", "default"].contains(&text) {
        return Err("must be the name of a network of the engine, such as bridge".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_of_containers_is_never_the_hosts() {
        assert_eq!(network("bridge").as_deref(), Ok("bridge"));
        for name in ["", "host", "none", "default", "container:x", "a b"] {
            assert!(network(name).is_err(), "{name}");
        }
    }
}
