//! A container's work, pinned to what was current when its run started.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Contract;
use crate::compute::container::RelativePath;
use crate::compute::image::Pinned;
use crate::compute::resources::Resources;
use crate::digest::Digest;
use crate::ids::{PackageId, WorkspaceId};
use crate::input::exact::Exact;
use crate::secret::SecretId;

/// The params of a container, as it sees them: always a JSON object, with numbers as they were
/// written.
pub type Params = BTreeMap<String, Exact>;

/// Params as JSON text.
pub fn params_text(params: &Params) -> String {
    serde_json::to_string(params).expect("JSON is written as JSON")
}

/// The work of one container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// What the package is promised. It is compiled away before a node gets the container.
    pub contract: Contract,
    pub package: PackagePin,
    pub image: Image,
    /// The file in the package's `app` folder that is run.
    pub entrypoint: RelativePath,
    /// The ids of the workspace's secrets that the container gets. Never their values.
    pub secrets: Vec<String>,
    pub needs: Resources,
    /// The task gets one GPU of one of these names, in any case; empty means no GPU.
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
