//! What a run is pinned to when it starts: packages by digest, params, data, limits.
//!
//! A `RunSpec` is complete: later edits of the job, the template or a package touch the next run
//! only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::exact::Exact;
use crate::ids::{JobId, PackageId, WorkspaceId};
use crate::image::Pinned;
use crate::price::TASK_TIMEOUT_SECS;
use crate::resources::Resources;
use crate::secret::{SecretId, SecretKind};
use crate::task::Stage;
use crate::terms::Terms;

/// The params of one phase, as the container sees them: always a JSON object, with numbers as they
/// were written.
pub type Params = BTreeMap<String, Exact>;

/// Params as JSON text.
pub fn params_text(params: &Params) -> String {
    serde_json::to_string(params).expect("JSON is written as JSON")
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    pub job: JobId,
    pub workspace: WorkspaceId,
    /// The job's name; the wallet's line of this run shows it.
    pub name: String,
    pub template: String,
    pub source: Source,
    pub destination: Destination,
    pub partition: Partition,
    pub process: Container,
    pub assemble: Assemble,
    pub limits: Limits,
    pub terms: Terms,
}

impl RunSpec {
    /// The container that works on a stage, or `None` where the server does it itself.
    pub fn container(&self, stage: Stage) -> Option<&Container> {
        match (stage, &self.partition, &self.assemble) {
            (Stage::Process, _, _) => Some(&self.process),
            (Stage::Partition, Partition::Custom(container), _)
            | (Stage::Assemble, _, Assemble::Custom(container)) => Some(container),
            (Stage::Partition | Stage::Assemble, _, _) => None,
        }
    }
}

/// Where a run's data comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// Objects of a customer's bucket; each path is read as a `pattern::Pattern`.
    Cloud { bucket: Cloud, paths: Vec<String> },
    /// An http or https URL, read by ranges where its server can.
    Url { url: String, username: Option<String>, secret: Option<SecretId> },
    /// A file that the customer uploaded into Fanfold's bucket, as it was called complete.
    File { key: String, name: String, size: u64, identity: Option<Identity> },
    /// No data: one empty object, so that a partitioner has something to fan out.
    Bypass,
}

/// What tells an uploaded file from another one of its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Identity {
    /// Of its bytes, which the server has taken in itself. It survives a move of the bucket.
    Digest(Digest),
    /// What the bucket calls it, which has taken the bytes in itself.
    Etag(String),
}

impl Identity {
    const DIGEST: &str = "sha-256:";

    /// The identity as one text.
    pub fn text(&self) -> String {
        match self {
            Self::Digest(digest) => format!("{}{digest}", Self::DIGEST),
            Self::Etag(etag) => etag.clone(),
        }
    }

    /// Reads back what [`Self::text`] writes.
    pub fn read(text: &str) -> Self {
        let digest = text.strip_prefix(Self::DIGEST).and_then(|hex| hex.parse().ok());
        digest.map_or_else(|| Self::Etag(text.to_owned()), Self::Digest)
    }
}

/// Where a run's results go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Destination {
    /// A folder of a customer's bucket; an empty one is its root.
    Cloud { bucket: Cloud, folder: String },
    /// Fanfold's own bucket: signed links for 48 hours.
    Bucket,
    /// Nowhere: the results are dropped.
    Bypass,
}

/// A customer's bucket in somebody's cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cloud {
    pub provider: Provider,
    /// The bucket's name; Azure calls it a container.
    pub name: String,
    /// `None` is the provider's own.
    pub endpoint: Option<String>,
    /// The id of the workspace's secret that opens the bucket; `None` for a public one.
    pub secret: Option<SecretId>,
}

/// Whose cloud it is. All but Azure speak Amazon's language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Provider {
    /// Amazon, or anybody's store of the same language at an endpoint of its own.
    Aws {
        region: String,
    },
    /// Google, with HMAC keys.
    Gcp {
        region: String,
    },
    Storj {
        region: String,
    },
    /// The account may be named by the secret alone.
    Azure {
        account: Option<String>,
    },
}

impl Provider {
    /// The name of its descriptor.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Aws { .. } => "aws",
            Self::Gcp { .. } => "gcp",
            Self::Storj { .. } => "storj",
            Self::Azure { .. } => "azure",
        }
    }

    /// The kind of secret that opens its buckets.
    pub const fn keys(&self) -> SecretKind {
        match self {
            Self::Aws { .. } => SecretKind::Aws,
            Self::Gcp { .. } => SecretKind::Gcp,
            Self::Storj { .. } => SecretKind::Storj,
            Self::Azure { .. } => SecretKind::Azure,
        }
    }
}

/// How a run's data is cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Partition {
    /// By ranges that the server computes; nothing is copied.
    Builtin(Partitioner),
    /// By the customer's container, on a node.
    Custom(Box<Container>),
}

/// The partitioners that need no container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Partitioner {
    /// The whole source is one chunk. Several objects are one chunk each.
    Passthrough,
    /// Chunks of about `bytes`, each ending where a line ends. What is no text is one chunk.
    Lines { bytes: u64 },
    /// Chunks of exactly `bytes`, the last of an object shorter.
    Bytes { bytes: u64 },
    /// Each object of the source is one chunk.
    File,
    /// Each object of the source, `copies` times.
    Replicate { copies: u32 },
}

/// How a run's results are folded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Assemble {
    /// By the server, streaming.
    Builtin(Assembler),
    /// By the customer's container, on a node.
    Custom(Box<Container>),
}

/// The assemblers that need no container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Assembler {
    /// Every result file goes to the destination under its unique name.
    Passthrough,
    /// All result files one after the other, in chunk order, as one file of this name. The
    /// separator stands between two files, except where the first ends with it already or is
    /// empty.
    Concat { name: String, separator: String },
    /// All result files in one archive of this name.
    Zip { name: String },
}

/// The work of one container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    pub package: PackagePin,
    pub image: Image,
    /// The file in the package's `app` folder that is run.
    pub entrypoint: String,
    /// The ids of the workspace's secrets that the container gets. Never their values.
    pub secrets: Vec<String>,
    pub needs: Resources,
    /// The task gets one GPU of one of these names, in any case; empty is none.
    pub gpus: Vec<String>,
    pub params: Params,
}

/// A package at the very bytes that were current when the run started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackagePin {
    pub id: PackageId,
    /// Whose package it is: an imported one has another owner than the run.
    pub owner: WorkspaceId,
    pub name: String,
    /// `major.minor`.
    pub version: String,
    pub revision: u32,
    /// Of the package's tar archive.
    pub digest: Digest,
}

/// What a container is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Image {
    /// An image in Fanfold's bucket: the archive that the engine's save gives. `reference` is
    /// what its owner calls it.
    Stored { reference: String, digest: Digest },
    /// An image that each node pulls from its registry. `secret` is the id of the workspace's
    /// secret that opens it; `None` for one that anybody may pull.
    Registry { image: Pinned, secret: Option<SecretId> },
    /// An image that a node's own engine has under this name. Only for nodes whose owners allow
    /// it.
    Local { name: String },
    /// No image: the package carries a static executable.
    Binary,
}

/// When a run stops trying, and which results it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Seconds that one attempt's container may run.
    pub task_timeout_secs: u32,
    /// Seconds from the run's start to its end; `None` is no limit.
    pub job_timeout_secs: Option<u32>,
    /// Further attempts after a task's first failed.
    pub task_retries: u32,
    /// A process task that gives no results has failed.
    pub require_results: bool,
    /// The same input gives the same results, so that a second node can check the first.
    pub deterministic: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            task_timeout_secs: TASK_TIMEOUT_SECS,
            job_timeout_secs: None,
            task_retries: 0,
            require_results: false,
            deterministic: true,
        }
    }
}

/// The name under which a process task's result file `name` is handed on: unique over the run and
/// sortable by chunk. A single-chunk run keeps the name as it is.
pub fn result_name(index: u32, total: u32, name: &str) -> String {
    if total == 1 { name.to_owned() } else { format!("{index:07}_{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_of_uploads_are_read_back_from_their_text() {
        let digest = Identity::Digest(Digest::of(b"x"));
        for identity in [digest, Identity::Etag("\"sha-256:1\"".into())] {
            assert_eq!(Identity::read(&identity.text()), identity);
        }
    }

    #[test]
    fn result_names_sort_by_chunk() {
        let names: Vec<_> =
            [2, 10, 100].into_iter().map(|i| result_name(i, 101, "out.txt")).collect();

        assert!(names.is_sorted());
        assert_eq!(result_name(0, 1, "out.txt"), "out.txt");
    }
}
