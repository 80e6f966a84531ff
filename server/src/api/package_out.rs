//! Packages as they are shown.

use std::collections::BTreeMap;

use base64::Engine as _;
use chrono::{DateTime, Utc};
use common::ids::{PackageId, WorkspaceId};
use common::package::manifest::{Kind, Platform};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::reply;
use crate::store::packages::{Family, Package};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PackageOut {
    #[schema(value_type = String)]
    id: PackageId,
    name: String,
    version: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[schema(value_type = String)]
    owner: WorkspaceId,
    /// What the owner is called.
    user_name: String,
    status: &'static str,
    is_public: bool,
    #[schema(value_type = Object)]
    device_requirements: Value,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    deleted_at: Option<DateTime<Utc>>,
    platform: &'static str,
    hash: String,
    link: &'static str,
    #[schema(value_type = Object)]
    platform_config: Value,
    entrypoint: String,
    /// A text for apps and a number for engines.
    #[schema(value_type = Object)]
    revision: Value,
    description: String,
}

/// What apps tell as a plain message, engines tell as a message of their own.
pub fn told(package: &Package, active: bool, message: String) -> Value {
    match Family::of(package.manifest.kind) {
        Family::App => json!(reply::done_with(message)),
        Family::Engine => json!({
            "engineId": package.id,
            "engineTag": format!("{}@{}", package.manifest.name, package.manifest.version),
            "engineData": "",
            "engineLink": if message.starts_with("http") { message.as_str() } else { "" },
            "engineStatus": status_name(active),
        }),
    }
}

pub const fn status_name(active: bool) -> &'static str {
    if active { "active" } else { "inactive" }
}

impl PackageOut {
    /// `names` are what the owners of packages are called.
    pub fn new(package: Package, names: &BTreeMap<WorkspaceId, String>) -> Self {
        let Package { manifest, .. } = package;
        let (platform, container, private) = match &manifest.platform {
            Platform::Docker { container, private } => ("docker", container.as_str(), *private),
            Platform::Binary => ("binary", "", false),
        };
        Self {
            id: package.id,
            version: manifest.version.to_string(),
            kind: manifest.kind.as_str(),
            owner: package.workspace,
            user_name: names.get(&package.workspace).cloned().unwrap_or_default(),
            status: status_name(package.active),
            is_public: package.public,
            device_requirements: json!({
                "minCpu": manifest.needs.cpu_millis / 1000,
                "minMemory": manifest.needs.memory_mib / 1024,
                "gpu": manifest.gpus,
            }),
            created_at: package.created_at,
            updated_at: package.updated_at,
            deleted_at: None,
            platform,
            hash: base64::engine::general_purpose::STANDARD.encode(package.digest.bytes()),
            link: "",
            platform_config: json!({
                "container": container,
                "privateImage": private,
                "username": "",
                "token": "",
                "secrets": manifest.secrets,
            }),
            revision: match manifest.kind {
                Kind::App => json!(package.revision.to_string()),
                Kind::Partitioner | Kind::Assembler => json!(package.revision),
            },
            name: manifest.name,
            entrypoint: manifest.entrypoint,
            description: manifest.description,
        }
    }
}
