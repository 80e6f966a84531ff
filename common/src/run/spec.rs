//! The order for a run, and where its data comes from and goes to.
//!
//! A `RunSpec` is complete: later edits of the job, the template or a package touch the next run
//! only.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::{JobId, RunId, WorkspaceId};
use crate::plan::Plan;
use crate::run::scheduling::Terms;
use crate::run::task::StageNo;
use crate::secret::{SecretId, SecretKind};

/// An order for a run: what it does, for whom, and on which terms.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSpec {
    pub job: JobId,
    pub workspace: WorkspaceId,
    /// The job's name; the wallet's line of this run shows it.
    pub name: String,
    pub template: String,
    pub plan: Plan,
    /// Seconds from the start of the run's work to its end; `None` is no limit.
    pub timeout_secs: Option<u32>,
    pub terms: Terms,
    /// The run and its stage that this one is a part of.
    pub parent: Option<Parent>,
}

/// A stage of a run that waits for the end of another run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Parent {
    pub run: RunId,
    pub stage: StageNo,
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
