//! The names of objects in Fanfold's bucket: this is the only place that makes them.

use common::digest::Digest;
use common::ids::{JobId, RunId};
use common::task::Lease;

/// What an object in the bucket is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BlobKey {
    /// A package's tar archive.
    Package(Digest),
    /// A container image, as the engine's save gives it.
    Image(Digest),
    /// The file that a customer uploaded for a job.
    Upload(JobId),
    /// A copy of source object `n`, which could not be read by ranges.
    Staged { run: RunId, n: u32 },
    /// A result file that a node stored under its lease.
    Result { lease: Lease, digest: Digest },
    /// A file that a built-in assembler wrote.
    Final { run: RunId, name: String },
}

impl BlobKey {
    pub fn path(&self) -> String {
        match self {
            Self::Package(digest) => format!("packages/{digest}"),
            Self::Image(digest) => format!("images/{digest}"),
            Self::Upload(job) => format!("uploads/{job}"),
            Self::Staged { run, n } => format!("runs/{run}/staged/{n}"),
            Self::Result { lease, digest } => format!(
                "runs/{}/{}/{}/{}/{digest}",
                lease.task.run,
                lease.task.stage.as_str(),
                lease.task.index,
                lease.attempt
            ),
            Self::Final { run, name } => format!("runs/{run}/final/{name}"),
        }
    }
}
