//! The names of objects in Fanfold's bucket: this is the only place that makes them.

use common::data::cache_name;
use common::digest::Digest;
use common::ids::{JobId, RunId, WorkspaceId};
use common::run::task::{Lease, StageNo, TaskRef};

use crate::data::file_name;

/// Tasks whose results share a folder: in a bucket that is one, a folder for each task would cost
/// more than a small result.
const TASKS_PER_FOLDER: u32 = 1_000;

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
    /// The check sums of the one file in this bucket that a run reads.
    Sums { run: RunId },
    /// A result file that a node stored under its lease.
    Result { lease: Lease, digest: Digest },
    /// A file that a built-in assembler wrote.
    Final { run: RunId, name: String },
    /// A segment of a run's log.
    Log { run: RunId, seq: u32, digest: Digest },
    /// A file that somebody uploaded for a cache; its name is one that `common::data::cache_name` takes.
    Cached { whose: Whose, name: String },
}

/// Whose cache a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whose {
    User(WorkspaceId),
    Everybody,
}

impl Whose {
    /// The folder under which all files of the cache lie.
    pub fn folder(self) -> String {
        match self {
            Self::User(workspace) => format!("caches/{workspace}"),
            Self::Everybody => "caches/shared".to_owned(),
        }
    }
}

impl BlobKey {
    pub fn path(&self) -> String {
        match self {
            Self::Package(digest) => format!("packages/{digest}"),
            Self::Image(digest) => format!("images/{digest}"),
            Self::Upload(job) => format!("uploads/{job}"),
            Self::Staged { run, n } => format!("runs/{run}/staged/{n}"),
            Self::Sums { run } => format!("runs/{run}/sums"),
            Self::Result { lease, digest } => {
                let TaskRef { run, stage, index } = lease.task;
                let folder = index / TASKS_PER_FOLDER;
                format!("runs/{run}/{stage}/{folder}/{index}.{}.{digest}", lease.attempt)
            }
            Self::Final { run, name } => format!("runs/{run}/final/{}", file_name::safe(name)),
            Self::Log { run, seq, digest } => format!("logs/{run}/{seq}.{digest}"),
            Self::Cached { whose, name } => format!("{}/{name}", whose.folder()),
        }
    }

    /// The digest that its bytes must have, where its name says it.
    pub const fn digest(&self) -> Option<Digest> {
        match self {
            Self::Package(digest)
            | Self::Image(digest)
            | Self::Result { digest, .. }
            | Self::Log { digest, .. } => Some(*digest),
            Self::Upload(_)
            | Self::Sums { .. }
            | Self::Staged { .. }
            | Self::Final { .. }
            | Self::Cached { .. } => None,
        }
    }

    /// Reads back what [`Self::path`] writes, and nothing else.
    pub fn from_path(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').collect();
        let key = match parts[..] {
            ["packages", digest] => Self::Package(digest.parse().ok()?),
            ["images", digest] => Self::Image(digest.parse().ok()?),
            ["uploads", job] => Self::Upload(job.parse().ok()?),
            ["runs", run, "staged", n] => {
                Self::Staged { run: run.parse().ok()?, n: n.parse().ok()? }
            }
            ["runs", run, "sums"] => Self::Sums { run: run.parse().ok()? },
            ["runs", run, "final", name] => {
                Self::Final { run: run.parse().ok()?, name: name.to_owned() }
            }
            ["runs", run, stage, _, name] => {
                let mut parts = name.split('.');
                let (index, attempt, digest) = (parts.next()?, parts.next()?, parts.next()?);
                let stage = StageNo::new(stage.parse().ok()?);
                let task = TaskRef { run: run.parse().ok()?, stage, index: index.parse().ok()? };
                let lease = Lease { task, attempt: attempt.parse().ok()? };
                Self::Result { lease, digest: digest.parse().ok()? }
            }
            ["logs", run, name] => {
                let (seq, digest) = name.split_once('.')?;
                let (run, seq) = (run.parse().ok()?, seq.parse().ok()?);
                Self::Log { run, seq, digest: digest.parse().ok()? }
            }
            ["caches", whose, ..] => {
                let whose = match whose {
                    "shared" => Whose::Everybody,
                    workspace => Whose::User(workspace.parse().ok()?),
                };
                let name = parts[2..].join("/");
                if !cache_name::is_name(&name) {
                    return None;
                }
                Self::Cached { whose, name }
            }
            _ => return None,
        };
        // Other spellings of the same ids and numbers are not ours.
        (key.path() == path).then_some(key)
    }

    /// The folder under which everything of a run lies.
    pub fn run_folder(run: RunId) -> String {
        format!("runs/{run}")
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn blob_key_reads_back_from_its_path() {
        let (run, digest) = (RunId::new(Uuid::from_u128(7)), Digest::of(b"x"));
        let task = TaskRef { run, stage: StageNo::new(2), index: 3 };
        for key in [
            BlobKey::Package(digest),
            BlobKey::Image(digest),
            BlobKey::Upload(JobId::new(Uuid::from_u128(8))),
            BlobKey::Staged { run, n: 0 },
            BlobKey::Sums { run },
            BlobKey::Result { lease: Lease { task, attempt: 2 }, digest },
            BlobKey::Final { run, name: "results.zip".into() },
            BlobKey::Log { run, seq: 12, digest },
            BlobKey::Cached { whose: Whose::Everybody, name: "models/a.bin".into() },
            BlobKey::Cached {
                whose: Whose::User(WorkspaceId::new(Uuid::from_u128(9))),
                name: "a".into(),
            },
        ] {
            assert_eq!(BlobKey::from_path(&key.path()), Some(key));
        }
    }

    #[test]
    fn blob_key_refuses_foreign_paths() {
        let run = Uuid::from_u128(7);
        for path in [
            String::new(),
            "packages/abc".into(),
            format!("runs/{run}"),
            format!("runs/{run}/final/.."),
            format!("runs/{run}/final/a/b"),
            format!("runs/{run}/staged/007"),
            format!("runs/{run}/staged/+7"),
            format!("runs/{}/staged/7", run.simple()),
            format!("runs/{run}/other/0/1.1.{}", Digest::of(b"x")),
            format!("runs/{run}/02/0/1.1.{}", Digest::of(b"x")),
            format!("runs/{run}/2/1/1.1.{}", Digest::of(b"x")),
            format!("runs/{run}/2/0/1.1.{}.x", Digest::of(b"x")),
            format!("logs/{run}/01.{}", Digest::of(b"x")),
            format!("logs/{run}/1"),
            "../etc/passwd".into(),
            "caches/shared".into(),
            "caches/shared/".into(),
            "caches/shared/../../packages/x".into(),
            "caches/nobody/x".into(),
        ] {
            assert_eq!(BlobKey::from_path(&path), None, "{path}");
        }
    }

    #[test]
    fn final_name_cannot_leave_its_folder() {
        let run = RunId::new(Uuid::from_u128(7));

        let path = BlobKey::Final { run, name: "../../../packages/x".into() }.path();

        assert_eq!(path, format!("runs/{run}/final/.._.._.._packages_x"));
    }
}
