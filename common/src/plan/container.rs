//! The work of containers, pinned to what was current when its run started.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Contract, LateText, contract};
use crate::compute::container::{ContainerSpec, Grants, Isolation, RelativePath};
use crate::compute::environment::Environment;
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

/// The work of one task in containers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    pub code: Code,
    /// The ids of the workspace's secrets that the containers get. Never their values.
    pub secrets: Vec<String>,
    pub needs: Resources,
    /// The task gets one GPU of one of these names, in any case; empty means no GPU.
    pub gpus: Vec<String>,
    /// Only nodes of the workspace's own may run it.
    #[serde(default)]
    pub own_nodes: bool,
}

/// What containers run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Code {
    /// A file of a package, as a contract of packages has it.
    Package(Box<PackageCode>),
    /// Programs of images, without a package.
    Images(ImageCode),
}

/// A file of a package, in the package's image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageCode {
    /// What the package is promised. It is compiled away before a node gets the container.
    pub contract: Contract,
    pub package: PackagePin,
    pub image: Image,
    /// The file in the package's `app` folder that is run.
    pub entrypoint: RelativePath,
    pub params: Params,
    #[serde(default, skip_serializing_if = "Isolation::is_default")]
    pub isolation: Isolation,
}

/// Programs of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageCode {
    /// What `spec` names by its place.
    pub images: Vec<Image>,
    pub spec: ContainerSpec,
    /// Texts of `spec` that are templates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late: Vec<LateText>,
}

impl Container {
    /// The package that it runs, where it does.
    pub fn package(&self) -> Option<&PackageCode> {
        match &self.code {
            Code::Package(code) => Some(code),
            Code::Images(_) => None,
        }
    }

    /// What its containers are made from, in the order in which their specification counts them.
    pub fn images(&self) -> &[Image] {
        match &self.code {
            Code::Package(code) => std::slice::from_ref(&code.image),
            Code::Images(code) => &code.images,
        }
    }

    /// Its texts that are known only when a task begins.
    pub fn late(&self) -> &[LateText] {
        match &self.code {
            Code::Package(_) => &[],
            Code::Images(code) => &code.late,
        }
    }

    /// The variables of one task, as its contract has them.
    pub fn task_environment(
        &self,
        index: u32,
        file: Option<(&str, &str)>,
        nominal: Option<DateTime<Utc>>,
    ) -> Environment {
        match &self.code {
            Code::Package(code) => code.contract.task_environment(index, file, nominal),
            Code::Images(_) => contract::schedule_environment(nominal),
        }
    }

    /// What the owners of nodes must allow. Of a package's image in a node's own engine, the node
    /// itself says whether it may be used.
    pub fn asks(&self) -> Grants {
        match &self.code {
            Code::Package(_) => Grants::default(),
            Code::Images(ImageCode { images, spec, .. }) => {
                let local_images = images.iter().any(|image| matches!(image, Image::Local { .. }));
                Grants { local_images, ..spec.asks() }
            }
        }
    }
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
