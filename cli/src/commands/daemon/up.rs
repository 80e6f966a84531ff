//! `fanfold up`: a server and its nodes in one process, on nothing but a folder.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use common::error_chain::chain;
use common::ids::WorkspaceId;
use server::{Config, Server};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::folder::Folder;
use super::serve::{self, STOP_MAX};
use super::{capacity, disk, machine, run_node, signals};
use crate::client::failure::Failure;
use crate::client::output::line;
use crate::log;

const NODES_MAX: i64 = 64;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for everything: database, bucket, keys, credentials.json, endpoint.json
    #[arg(long, default_value = ".fanfold")]
    data_dir: PathBuf,
    /// Address of the API; port 0 picks a free one
    #[arg(long, env = "FANFOLD_HTTP_LISTEN", default_value = "127.0.0.1:8700")]
    listen: SocketAddr,
    /// Multiaddr that nodes call, or several with commas; port 0 picks a free one
    #[arg(
        long,
        env = "FANFOLD_P2P_LISTEN",
        default_value = "/ip4/127.0.0.1/tcp/8701",
        value_delimiter = ',',
        value_name = "MULTIADDR"
    )]
    node_listen: Vec<String>,
    /// Number of nodes in this process
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=NODES_MAX))]
    nodes: u16,
    #[command(flatten)]
    capacity: capacity::Offered,
    #[command(flatten)]
    disk: disk::Lent,
    #[command(flatten)]
    place: run_node::Place,
    #[command(flatten)]
    pub log: log::Options,
}

pub async fn run(args: Args) -> Result<(), Failure> {
    let stop = signals::stop()?;
    let folder = Folder::take(&args.data_dir)?;
    let mut config = Config::load(None).map_err(|error| Failure::Usage(error.to_string()))?;
    config.http_listen = args.listen;
    config.p2p_listen = args.node_listen;
    config.data_dir = folder.path().to_owned();
    let server = serve::start(config).await?;

    let mut running = JoinSet::new();
    let nodes =
        Nodes { count: args.nodes, place: args.place, disk: args.disk, capacity: args.capacity };
    let served = serve(&server, &folder, &nodes, &mut running, &stop).await;
    stop.cancel();
    let ended = async { while running.join_next().await.is_some() {} };
    if timeout(STOP_MAX, ended).await.is_err() {
        tracing::warn!("the nodes took too long to stop");
    }
    serve::end(server).await;
    served
}

/// The nodes of this process.
struct Nodes {
    count: u16,
    place: run_node::Place,
    disk: disk::Lent,
    capacity: capacity::Offered,
}

/// Starts the nodes and waits until a signal, or until a critical task fails.
async fn serve(
    server: &Server,
    folder: &Folder,
    nodes: &Nodes,
    running: &mut JoinSet<Result<(), node::Error>>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let workspace = serve::introduce(server, folder).await?;
    for number in 1..=nodes.count {
        let options = options(server, folder, workspace, number, nodes).await?;
        running.spawn(node::run(options, stop.clone()));
    }
    line(format_args!(
        "fanfold is ready at {} with {} nodes; documents at {0}/docs/; credentials in {}; more nodes \
         join at {}",
        server.url(),
        nodes.count,
        folder.path().join("credentials.json").display(),
        serve::entrance(server),
    ))?;
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            error = server.failed() => {
                return Err(Failure::caused("the server stopped", &error));
            }
            Some(ended) = running.join_next() => ended,
        };
        match ended {
            _ if stop.is_cancelled() => return Ok(()),
            // Its owner has removed it: the server and the other nodes go on.
            Ok(Err(node::Error::Refused(refused))) => {
                tracing::warn!(error = %chain(&refused), "a node does not run")
            }
            Ok(Err(error)) if let Some(why) = error.of_key() => {
                tracing::error!(error = why, "a node does not run");
            }
            Ok(Ok(())) => return Err(Failure::local("a node stopped", "it ended by itself")),
            Ok(Err(error)) => return Err(Failure::caused("a node stopped", &error)),
            Err(error) => return Err(Failure::caused("a node stopped", &error)),
        }
    }
}

/// The token lets a new node join; one that has joined before is known by its key.
async fn options(
    server: &Server,
    folder: &Folder,
    workspace: WorkspaceId,
    number: u16,
    nodes: &Nodes,
) -> Result<node::Options, Failure> {
    let token = server
        .node_token(workspace)
        .await
        .map_err(|error| Failure::caused("cannot issue a token for a node", &error))?;
    let share = machine::share(nodes.count);
    Ok(node::Options {
        server: server.node_addresses(),
        token: Some(token),
        data_dir: folder.inside(&Path::new("nodes").join(number.to_string()))?,
        cpu_millis: nodes.capacity.cpu_millis.or(share.map(|share| share.cpu_millis)),
        memory_mib: nodes.capacity.memory_mib.or(share.map(|share| share.memory_mib)),
        cpu_sharers: if nodes.capacity.cpu_millis.is_some() { 1 } else { nodes.count },
        runtime_dir: nodes.capacity.runtime_dir.clone(),
        prefetch: run_node::PREFETCH,
        region: nodes.place.region.clone(),
        // One GPU cannot be lent by two nodes.
        gpus: if number == 1 { nodes.place.gpus.clone() } else { Some(Vec::new()) },
        allow_private_addresses: server.allows_private_addresses(),
        allowed: node::Allowed { plain: true, ..nodes.place.allowed() },
        container_uids: node::IdRange::default(),
        jobs: node::Jobs::OfOne,
        disk: nodes.disk.share(nodes.count),
        local_images: nodes.place.local_images,
        caches: node::CacheSizes::default(),
        label: Some(format!("up-{number}")),
        metrics_listen: None,
    })
}
