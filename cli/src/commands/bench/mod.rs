//! `fanfold bench`: how fast this very binary is on this machine. Each benchmark sets up what it
//! needs in a temporary folder and on free ports, and removes it.

use clap::{Parser as _, Subcommand};

mod accept;
mod calls;
mod chunks;
mod containers;
mod data;
mod figure;
mod idle;
mod jobs;
mod node;
mod overhead;
mod ranges;
mod report;
mod schedules;
mod setup;
mod tork;
mod transfers;

use crate::client::failure::Failure;
use crate::client::output::Output;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Chunks a second and the server's CPU for each, with simulated nodes
    Chunks(chunks::Args),
    /// What a chunk costs beyond its container; needs a container engine
    Overhead(overhead::Args),
    /// What is around a program in containers of each kind; needs a container engine
    Containers(containers::Args),
    /// Chunks a second through a real node, beside started programs; needs a container engine
    Node(node::Args),
    /// MB/s of cutting and folding, beside a plain copy that is synced
    Data(data::Args),
    /// How long planning the chunks of a terabyte takes
    Ranges(ranges::Args),
    /// What it takes to accept a run of a million chunks, and to come back to it after a kill
    Accept(accept::Args),
    /// What it takes to create a job and run it, up to its accepted run
    Jobs(jobs::Args),
    /// What nodes that wait for work cost the server
    Idle(idle::Args),
    /// HTTP calls a second to a local receiver, and retries to a dead one
    Calls(calls::Args),
    /// What a million schedules cost a start, and while none is due; needs sqlite3 or psql
    Schedules(schedules::Args),
    /// Jobs and steps through Tork's API on a real node; needs a container engine
    Tork(tork::Args),
    /// MB/s between a node's disk and an S3 store; needs one
    Transfers(transfers::Args),
    /// All that need no store, as they are by default
    All,
}

pub async fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Chunks(args) => chunks::run(&args).await?.print(output),
        Command::Data(args) => data::run(&args).await?.print(output),
        Command::Ranges(args) => ranges::run(&args).await?.print(output),
        Command::Accept(args) => accept::run(&args).await?.print(output),
        Command::Transfers(args) => transfers::run(&args).await?.print(output),
        Command::Jobs(args) => jobs::run(&args).await?.print(output),
        Command::Idle(args) => idle::run(&args).await?.print(output),
        Command::Calls(args) => calls::run(&args).await?.print(output),
        Command::Schedules(args) => schedules::run(&args).await?.print(output),
        Command::Overhead(args) => match overhead::run(&args).await? {
            Some(report) => report.print(output),
            None => Ok(()),
        },
        Command::Containers(args) => match containers::run(&args).await? {
            Some(report) => report.print(output),
            None => Ok(()),
        },
        Command::Node(args) => match node::run(&args).await? {
            Some(report) => report.print(output),
            None => Ok(()),
        },
        Command::Tork(args) => match tork::run(&args).await? {
            Some(report) => report.print(output),
            None => Ok(()),
        },
        Command::All => {
            let names = [
                "chunks",
                "overhead",
                "containers",
                "node",
                "data",
                "ranges",
                "accept",
                "jobs",
                "idle",
                "calls",
                "schedules",
                "tork",
            ];
            for name in names {
                let one = One::parse_from(["bench", name]);
                Box::pin(run(one.command, output)).await?;
            }
            Ok(())
        }
    }
}

/// A benchmark with its defaults.
#[derive(Debug, clap::Parser)]
struct One {
    #[command(subcommand)]
    command: Command,
}
