//! The parts that stay: a server, nodes, or both in one process.

use clap::Subcommand;
use rustix::fs::Mode;

use crate::client::failure::Failure;
use crate::client::session::Session;
use crate::log::Format;

mod capacity;
mod disk;
mod doctor;
mod folder;
mod machine;
mod run_node;
mod serve;
mod signals;
mod up;

pub use run_node::PREFETCH;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a server and its nodes in one process, with one folder for all data
    Up(up::Args),
    /// Run a server alone
    Server(serve::Args),
    /// Run a node, or manage the workspace's nodes
    Node(run_node::Args),
}

impl Command {
    pub const fn log_format(&self) -> Format {
        match self {
            Self::Up(args) => args.log.format,
            Self::Server(args) => args.log.format,
            Self::Node(args) => args.log.format,
        }
    }
}

pub async fn run(
    command: Command,
    session: impl FnOnce() -> Result<Session, Failure>,
) -> Result<(), Failure> {
    // Whatever is written from here on is nobody else's: databases, buckets, caches, keys.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    server::limits::open_files::raise_limit();
    match command {
        Command::Up(args) => Box::pin(up::run(args)).await,
        Command::Server(args) => Box::pin(serve::run(args)).await,
        Command::Node(args) => run_node::run(args, session).await,
    }
}
