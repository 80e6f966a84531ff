//! Requests for bytes under a lease, and what their answers begin with.

use serde::{Deserialize, Serialize};

use crate::compute::container::ContainerSpec;
use crate::digest::Digest;
use crate::run::task::Lease;
use crate::secret::{Hidden, Secret};

/// What a node asks for on a blob stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlobRequest {
    /// The list of a lease's input files. Answered with `Listing`.
    Inputs { lease: Lease },
    /// Input `n` of a lease, from byte `from` on. Answered with `Bytes` or `Redirect`.
    Input { lease: Lease, n: u32, from: u64 },
    /// The package of a lease, from byte `from` on.
    Package { lease: Lease, from: u64 },
    /// Image `n` of a lease, a stored one, from byte `from` on.
    Image { lease: Lease, n: u8, from: u64 },
    /// The secrets of a lease's package. Answered with `Secrets`.
    Secrets { lease: Lease },
    /// What a lease's task runs, where that is known only when it begins. Answered with `Bytes`:
    /// JSON of an [`OwnContainer`].
    Container { lease: Lease },
    /// What opens image `n` of a lease at its registry. Answered with `PullToken`.
    PullToken { lease: Lease, n: u8 },
    /// The list of a cache's files. Answered with `Listing`.
    Cached { lease: Lease, cache: Cache },
    /// A file of a cache at exactly this version, from byte `from` on.
    CacheFile { lease: Lease, cache: Cache, name: String, version: String, from: u64 },
    /// Stores a result file of a lease. Answered with `Ready` (then send `size` bytes and read a
    /// second reply), with `Upload` (then put them there and ask again), or at once with `Stored`.
    Put {
        lease: Lease,
        size: u64,
        digest: Digest,
        /// Whether the node would put the file into the bucket itself.
        direct: bool,
    },
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
            | Self::Container { lease }
            | Self::PullToken { lease, .. }
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
    /// In the order of the package's manifest, or of the job. They must not reach a disk.
    Secrets(Vec<Secret>),
    /// Good for pulling this image of the lease and nothing else, for some minutes; `None` where the
    /// registry asks for nothing.
    PullToken(Option<Hidden>),
    Ready,
    /// The bytes are to be put at this URL, whose store takes no others.
    Upload {
        url: String,
        /// What the header [`super::CHECKSUM_HEADER`] must say.
        checksum: String,
    },
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

/// What one task runs, with the texts that are its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnContainer {
    pub container: ContainerSpec,
    /// Secrets that are in its texts. They must not reach a disk.
    pub hidden: Vec<Hidden>,
}

impl OwnContainer {
    /// The most bytes of one, as JSON.
    pub const BYTES_MAX: u64 = 8 << 20;
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
