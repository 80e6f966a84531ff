//! What a node says of itself, and what the server orders.

use serde::{Deserialize, Serialize};

use super::{LogBatch, SignedReceipt};
use crate::compute::container::{ContainerSpec, Sharing};
use crate::compute::device::Device;
use crate::compute::environment::Environment;
use crate::compute::resources::Resources;
use crate::digest::Digest;
use crate::ids::{RunId, WorkspaceId};
use crate::plan::Image;
use crate::run::task::{Lease, StageNo};

/// Everything a node has to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    /// A number drawn when the node's process started: a new one means that nothing runs which
    /// is not listed here.
    pub incarnation: u64,
    /// Rises with each message of the process, so that one that is overtaken is known.
    pub number: u64,
    /// The one-time token with which an unknown node joins its operator's workspace.
    pub token: Option<String>,
    /// What the owner lends in all, used or not.
    pub capacity: Resources,
    /// Its container engine does not answer, so no task can run on it now.
    pub engine_away: bool,
    /// Tasks that the node will hold beyond its capacity, so that data arrives before its turn.
    pub prefetch: u32,
    pub device: Device,
    /// Every attempt the node holds: waiting, running, or uploading its results.
    pub holding: Vec<Held>,
    /// Attempts that have ended and that the server has not settled yet.
    pub receipts: Vec<SignedReceipt>,
    pub logs: Vec<LogBatch>,
    /// What running attempts used, for periods that have ended.
    pub samples: Vec<Sample>,
    /// How the probe stands that the server asked for, until the server has heard its result.
    pub probe: Option<Probe>,
    /// How long the server may keep the answer back while it has nothing to say.
    pub wait_ms: u32,
}

/// An attempt on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    pub lease: Lease,
    /// Milliseconds since the container started; `None` while it has not.
    pub running_ms: Option<u64>,
    /// It can neither get its data nor store its results, because the server's bucket is away.
    pub waits_for_bucket: bool,
    /// How far its containers say that they are, in hundredths; `None` where they say nothing.
    pub progress: Option<u8>,
}

/// What an attempt's containers used in a period of [`SAMPLE_SECS`], on the average.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    pub lease: Lease,
    /// The end of the period, in microseconds since 1970, by the node's clock.
    pub at_us: i64,
    pub cpu_millis: u32,
    pub memory_bytes: u64,
}

/// A check of the node itself, without any customer's image or data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Probe {
    Running,
    Passed,
    /// The message is for the server's log.
    Failed {
        message: String,
    },
}

/// Everything a server has to say to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Orders {
    /// The node is unknown and brought no good token; the text tells its owner what to do.
    Refused(String),
    Work {
        /// The stages that `assign` speaks of, each once.
        works: Vec<Work>,
        /// Attempts leased to the node that it did not list: it should hold them.
        assign: Vec<Assignment>,
        /// Attempts the node listed that are no longer its own: it should drop them.
        cancel: Vec<Lease>,
        /// Receipts that need not be sent again: accepted and on disk, or refused for good.
        settled: Vec<Lease>,
        /// Up to which line each attempt's log is safe, of those that the answered message brought
        /// lines of: what comes before need not be sent again. Zero where none is safe yet.
        logged: Vec<(Lease, u32)>,
        /// The node should run a probe and say its result.
        probe: bool,
    },
}

/// What all tasks of a stage have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    pub run: RunId,
    /// Whose run it is.
    pub workspace: WorkspaceId,
    pub stage: StageNo,
    /// The package whose file its containers run; `None` for containers of images alone.
    pub package: Option<WorkPackage>,
    /// What the containers are made from; `container` names them by their places.
    pub images: Vec<Image>,
    pub container: ContainerSpec,
    /// Which tasks may follow one another in a container, on this node.
    pub sharing: Sharing,
    /// Whether there are secrets to be asked for right before a container starts.
    pub secrets: bool,
    /// Whether its container has texts that are known only when a task begins.
    pub late: bool,
    pub needs: Resources,
    pub task_timeout_secs: Option<u32>,
}

/// A package, as a node fetches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkPackage {
    /// Whose package it is: what containers leave in a cache is for those of the same workspace
    /// and package owner.
    pub owner: WorkspaceId,
    /// Of the package's tar archive.
    pub digest: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    pub lease: Lease,
    /// The name, in lower case, of the GPU that the task gets.
    pub gpu: Option<String>,
    pub inputs: Inputs,
    /// The container's variables beside those of its stage.
    pub environment: Environment,
}

/// What a task reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Inputs {
    /// Input 0 alone, of this many bytes. The container sees it under this name.
    File {
        name: String,
        bytes: u64,
        /// All of them, where they travel with the assignment; else they are asked for.
        #[serde(with = "serde_bytes")]
        content: Option<Vec<u8>>,
    },
    /// Files whose list is asked for with `BlobRequest::Inputs`.
    Files,
    None,
}
