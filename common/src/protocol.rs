//! The wire between a node and a server: two libp2p protocols.
//!
//! *sync* is one message in a loop. The node says everything it is and does, the server answers
//! with everything it should do. Both are whole statements, not differences: a lost message
//! costs time and never truth.
//!
//! *blob* moves bytes. A stream starts with one request frame, the answer starts with one reply
//! frame, and bytes follow the one or the other.

pub mod frame;

use serde::{Deserialize, Serialize};

use crate::compute::container::ContainerSpec;
use crate::compute::device::Device;
use crate::compute::environment::Environment;
use crate::compute::resources::{Resources, Usage};
use crate::digest::Digest;
use crate::ids::{RunId, WorkspaceId};
use crate::plan::Image;
use crate::run::task::{Lease, StageNo};
use crate::secret::{Hidden, Secret};

/// Request-response with CBOR: `Sync` → `Orders`.
pub const SYNC_PROTOCOL: &str = "/fanfold/sync/2";
/// A stream: frames (four bytes of length, big-endian, then postcard), then raw bytes.
pub const BLOB_PROTOCOL: &str = "/fanfold/blob/1";

/// The most bytes of one blob frame.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// The most bytes of a file's name.
pub const NAME_BYTES_MAX: usize = 255;
/// The most bytes of receipts in one `Sync`; a node keeps the rest for the next.
pub const RECEIPTS_BYTES_MAX: usize = 600 * 1024;
/// The most bytes of one receipt. One of more than `RECEIPTS_BYTES_MAX` comes alone. Each result
/// takes its name and up to `OUTPUT_BYTES_MAX` of it.
pub const RECEIPT_BYTES_MAX: usize = 7 << 19;
/// The most bytes of a result in a receipt beside its name: lengths, and the digest.
pub const OUTPUT_BYTES_MAX: usize = 2 + 10 + 32;
/// More result files than any receipt of one attempt can list.
pub const OUTPUTS_MAX: usize = RECEIPT_BYTES_MAX / 32;
/// The most bytes of a `Sync`.
pub const SYNC_BYTES_MAX: u64 = 4 << 20;
/// The most bytes of log text in one `Sync`.
pub const LOGS_BYTES_MAX: usize = 128 * 1024;
/// The most assignments in one `Orders`.
pub const ASSIGN_MAX: usize = 256;

/// Everything a node has to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    /// A number drawn when the node's process started: a new one means that nothing runs which
    /// is not listed here.
    pub incarnation: u64,
    /// The one-time token with which an unknown node joins its operator's workspace.
    pub token: Option<String>,
    /// What the owner lends in all, used or not.
    pub capacity: Resources,
    /// Tasks that the node will hold beyond its capacity, so that data arrives before its turn.
    pub prefetch: u32,
    pub device: Device,
    /// Every attempt the node holds: waiting, running, or uploading its results.
    pub holding: Vec<Held>,
    /// Attempts that have ended and that the server has not settled yet.
    pub receipts: Vec<SignedReceipt>,
    pub logs: Vec<LogBatch>,
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
    /// Whose package it is: what containers leave in a cache is for those of the same workspace
    /// and package owner.
    pub package_owner: WorkspaceId,
    pub stage: StageNo,
    /// Of the package's tar archive.
    pub package: Digest,
    pub image: Image,
    pub container: ContainerSpec,
    /// Whether there are secrets to be asked for right before a container starts.
    pub secrets: bool,
    pub needs: Resources,
    pub task_timeout_secs: Option<u32>,
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
    },
    /// Files whose list is asked for with `BlobRequest::Inputs`.
    Files,
    None,
}

/// A receipt's bytes (postcard of `Receipt`) and the node's signature over them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedReceipt {
    #[serde(with = "serde_bytes")]
    pub receipt: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

/// What a node signs when an attempt ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub lease: Lease,
    pub usage: Usage,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The container ended with 0 and its result files are stored.
    Succeeded { outputs: Vec<Output> },
    /// It gave no result. What follows, and who is to blame, is told by `market::blame`.
    Failed { failure: Failure, message: String },
    /// The node is at fault: the task goes elsewhere and the node loses trust.
    NodeFault { message: String },
}

/// What the beginning of a receipt's bytes tells: all but the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptHead {
    pub usage: Usage,
    /// How the container ended, where it ended by itself.
    pub exit_code: Option<i64>,
}

impl ReceiptHead {
    /// No more of a receipt is needed.
    pub const BYTES_MAX: usize = 192;

    /// Reads a receipt's first bytes.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        type Start = (Lease, Usage, OutcomeKind);
        let ((_, usage, kind), rest) = postcard::take_from_bytes::<Start>(bytes).ok()?;
        let exit_code = match kind {
            OutcomeKind::Succeeded => Some(0),
            OutcomeKind::Failed => match postcard::take_from_bytes(rest).ok()?.0 {
                Failure::ExitCode(code) => Some(code),
                Failure::Timeout
                | Failure::OutOfMemory
                | Failure::Results
                | Failure::Package
                | Failure::Registry
                | Failure::Input
                | Failure::Source
                | Failure::Platform
                | Failure::Killed
                | Failure::Damaged => None,
            },
            OutcomeKind::NodeFault => None,
        };
        Some(Self { usage, exit_code })
    }
}

/// `Outcome` without what it carries, in the same order.
#[derive(Deserialize)]
enum OutcomeKind {
    Succeeded,
    Failed,
    NodeFault,
}

/// A result file, stored under its digest for its lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Flat: folders are joined with `__`.
    pub name: String,
    pub size: u64,
    pub digest: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    ExitCode(i64),
    Timeout,
    OutOfMemory,
    /// The results are too large, too many, or badly named.
    Results,
    /// The package or its image cannot be used: the entrypoint is missing, for one.
    Package,
    /// The image's registry does not give it, or gives it too slowly.
    Registry,
    /// The data is not what the run was started with, or its store refuses it for good: it has
    /// changed, has gone, or may not be read.
    Input,
    /// The customer's data does not come: its store fails, or does not answer.
    Source,
    /// The server, or its bucket, does not give what belongs to the task.
    Platform,
    /// The container was ended from outside, or ended itself as if it were: the node cannot tell.
    Killed,
    /// The bytes of the package, or of an image that lies with it, are not those of its digest.
    /// Where the server finds the same, the run ends; else it is the node's trouble.
    Damaged,
}

/// What a container wrote, and its node around it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogBatch {
    pub lease: Lease,
    /// The number of the first line, from 0, so that a batch sent twice is stored once.
    pub first: u32,
    pub lines: Vec<LogLine>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLine {
    /// Microseconds since 1970, by the node's clock.
    pub at_us: i64,
    pub level: Level,
    pub text: String,
}

/// How grave a line is. What a container writes is `Unknown`: only the node's own lines have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Level {
    #[default]
    Unknown,
    Debug,
    Info,
    Error,
}

/// What a node asks for on a blob stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlobRequest {
    /// The list of a lease's input files. Answered with `Listing`.
    Inputs { lease: Lease },
    /// Input `n` of a lease, from byte `from` on. Answered with `Bytes` or `Redirect`.
    Input { lease: Lease, n: u32, from: u64 },
    /// The package of a lease, from byte `from` on.
    Package { lease: Lease, from: u64 },
    /// The stored image of a lease, from byte `from` on.
    Image { lease: Lease, from: u64 },
    /// The secrets of a lease's package. Answered with `Secrets`.
    Secrets { lease: Lease },
    /// What opens a lease's image at its registry. Answered with `PullToken`.
    PullToken { lease: Lease },
    /// The list of a cache's files. Answered with `Listing`.
    Cached { lease: Lease, cache: Cache },
    /// A file of a cache at exactly this version, from byte `from` on.
    CacheFile { lease: Lease, cache: Cache, name: String, version: String, from: u64 },
    /// Stores a result file of a lease. Answered with `Ready` (then send `size` bytes and read a
    /// second reply), or at once with `Stored`.
    Put { lease: Lease, size: u64, digest: Digest },
}

impl BlobRequest {
    /// The lease under which it is asked.
    pub const fn lease(&self) -> Lease {
        match self {
            Self::Inputs { lease }
            | Self::Input { lease, .. }
            | Self::Package { lease, .. }
            | Self::Image { lease, .. }
            | Self::Secrets { lease }
            | Self::PullToken { lease }
            | Self::Cached { lease, .. }
            | Self::CacheFile { lease, .. }
            | Self::Put { lease, .. } => *lease,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlobReply {
    /// This many entries follow, each a frame with an `InputFile` or a `CacheFile`.
    Listing {
        files: u32,
    },
    /// This many bytes follow. The digest, where it is known, is of the whole and not of the part
    /// from `from` on.
    Bytes {
        bytes: u64,
        digest: Option<Digest>,
    },
    /// The bytes `from..to` of this URL are what was asked for, if they are still of the version
    /// that is told.
    Redirect {
        url: String,
        from: u64,
        to: u64,
        digest: Option<Digest>,
        version: Option<Version>,
        /// What the customer calls the object; `None` where it lies in the server's own bucket.
        object: Option<String>,
    },
    /// Of the lease's package, in the order of its manifest. They must not reach a disk.
    Secrets(Vec<Secret>),
    /// Good for pulling the lease's image and nothing else, for some minutes; `None` where the
    /// registry asks for nothing.
    PullToken(Option<Hidden>),
    Ready,
    Stored,
    /// The node does not hold the lease: as a rule the task was given to another node, or its run
    /// has ended.
    Outdated,
    /// No; asking again helps only where `again` says so.
    Refused {
        message: String,
        again: bool,
    },
    /// The server's own bucket is away: asking again helps when it is back.
    BucketAway,
    /// The customer's store does not give the server what it is to pass on. Asking again may help.
    NoSource {
        message: String,
    },
}

/// What a customer's file was when the run began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// What to call the file if it is another one by now.
    pub path: String,
    pub etag: String,
}

/// One input of a task; its number is its place in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    pub name: String,
    pub size: u64,
    pub digest: Option<Digest>,
}

/// Which of the two caches that a container finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Cache {
    /// The workspace's own, which its containers can write to.
    User,
    /// The server's, which everybody reads.
    Shared,
}

/// A file that somebody uploaded for a cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CacheFile {
    /// A plain relative path: see `crate::data::cache_name::is_name`.
    pub name: String,
    pub size: u64,
    /// Another one means other bytes.
    pub version: String,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::compute::resources::Metering;
    use crate::ids::RunId;
    use crate::run::task::TaskRef;

    #[test]
    fn receipt_head_is_in_its_first_bytes() {
        let task = TaskRef { run: RunId::new(Uuid::max()), stage: StageNo::MAX, index: u32::MAX };
        let usage = Usage {
            cpu_ms: u64::MAX,
            memory_mib_ms: u64::MAX,
            wall_ms: u64::MAX,
            memory_peak_bytes: u64::MAX,
            input_bytes: u64::MAX,
            output_bytes: u64::MAX,
            network_bytes: u64::MAX,
            metering: Metering::Counters,
        };
        let output =
            Output { name: "x".repeat(255), size: u64::MAX, digest: Digest::of(b"result") };
        let failed = |failure| Outcome::Failed { failure, message: "m".repeat(2000) };
        for (outcome, exit_code) in [
            (Outcome::Succeeded { outputs: vec![output; 9] }, Some(0)),
            (failed(Failure::ExitCode(i64::MIN)), Some(i64::MIN)),
            (failed(Failure::Timeout), None),
            (Outcome::NodeFault { message: "m".repeat(2000) }, None),
        ] {
            let lease = Lease { task, attempt: u32::MAX };
            let bytes = postcard::to_stdvec(&Receipt { lease, usage, outcome }).unwrap();

            let head = ReceiptHead::read(&bytes[..ReceiptHead::BYTES_MAX]);

            assert_eq!(head, Some(ReceiptHead { usage, exit_code }));
        }
        assert_eq!(ReceiptHead::read(b""), None);
    }
}
