//! The only writer of runs, tasks, nodes' leases and money.

pub mod leases;

use common::credits::Credits;
use common::ids::{JobId, NodeId, RunId, WorkspaceId};
use common::protocol::{Orders, Receipt, SignedReceipt, Sync};
use common::run::RunState;
use common::spec::RunSpec;
use common::task::Stage;
use serde::Serialize;
use tokio::sync::broadcast;

/// A cheap handle; clones speak to the same coordinator.
#[derive(Clone)]
pub struct Coordinator {}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this job has been started already")]
    AlreadyStarted,
    #[error(
        "the wallet holds {available} credits and this run needs {needs} to be held: top up, \
         make the task timeout shorter, or ask for fewer resources"
    )]
    Wallet { needs: Credits, available: Credits },
    #[error("there is no such run, or it has ended")]
    NoRun,
    #[error("the server is stopping")]
    Stopping,
}

/// What has happened to a run, told after it is on disk.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunEvent {
    /// Rising, without gaps, since this server's process started.
    pub seq: u64,
    pub workspace: WorkspaceId,
    pub job: JobId,
    pub run: RunId,
    pub change: Change,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Change {
    State { state: RunState, error: Option<String> },
    Task { stage: Stage, index: u32, attempt: u32, state: &'static str },
    Progress(Progress),
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Progress {
    /// 0 until the chunks are known.
    pub chunks: u32,
    pub chunks_done: u32,
    pub tasks_running: u32,
    pub nodes_busy: u32,
    pub spent: Credits,
}

/// A node's message whose receipts have been verified and decoded.
pub struct CheckedSync {
    pub sync: Sync,
    /// One for each of `sync.receipts` that is well-formed and well signed.
    pub receipts: Vec<(Receipt, SignedReceipt)>,
}

impl Coordinator {
    /// Accepts a run: holds its credits and queues its work. On `Ok` it is on disk.
    pub async fn start_run(&self, run: RunId, spec: RunSpec) -> Result<(), Error> {
        todo!()
    }

    /// Ends a run as failed with this reason; nothing is paid for what was not accepted.
    pub async fn abort_run(&self, run: RunId, reason: String) -> Result<(), Error> {
        todo!()
    }

    /// Posts promotional credits to a workspace's wallet, once for each `key`.
    pub async fn grant(&self, to: WorkspaceId, amount: Credits, key: &str) -> Result<(), Error> {
        todo!()
    }

    /// Takes what a node says and gives what it should do. Waits up to `sync.wait_ms` while there
    /// is nothing to say; a newer sync of the same node ends the wait.
    pub async fn sync(&self, node: NodeId, sync: CheckedSync) -> Result<Orders, Error> {
        todo!()
    }

    /// A run's progress, or `None` when it has ended or is unknown.
    pub fn progress(&self, run: RunId) -> Option<Progress> {
        todo!()
    }

    /// Everything that happens from now on, to all workspaces.
    pub fn events(&self) -> broadcast::Receiver<RunEvent> {
        todo!()
    }
}
