//! The parts that stay: a server, nodes, or both in one process.

use clap::Subcommand;
use rustix::fs::Mode;

use crate::failure::Failure;
use crate::session::Session;

mod capacity;
mod disk;
mod doctor;
mod donate;
mod folder;
mod machine;
mod serve;
mod signals;
mod up;

pub use donate::PREFETCH;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a server and its nodes in one process, on nothing but a folder
    Up(up::Args),
    /// Run a server alone
    Server(serve::Args),
    /// Lend this machine to a server, and look after the workspace's nodes
    Node(donate::Args),
}

pub async fn run(
    command: Command,
    session: impl FnOnce() -> Result<Session, Failure>,
) -> Result<(), Failure> {
    // Whatever is written from here on is nobody else's: databases, buckets, caches, keys.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    server::files::raise_limit();
    match command {
        Command::Up(args) => up::run(args).await,
        Command::Server(args) => serve::run(args).await,
        Command::Node(args) => donate::run(args, session).await,
    }
}
