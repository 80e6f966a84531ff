//! Packages as they are shown.

use base64::Engine as _;
use chrono::{DateTime, Utc};
use common::ids::{PackageId, WorkspaceId};
use common::package::manifest::{Kind, Platform};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::api::bytenite::lists::page::Pagination;
use crate::api::bytenite::wire::{Done, done_with};
use crate::api::bytenite::words;
use crate::definitions::OwnerNames;
use crate::definitions::packages::{Family, Package};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PackageOut {
    #[schema(value_type = String)]
    id: PackageId,
    name: String,
    version: String,
    #[serde(rename = "type")]
    #[schema(value_type = words::PackageType)]
    kind: &'static str,
    #[schema(value_type = String)]
    owner: WorkspaceId,
    /// What the owner is called.
    user_name: String,
    #[schema(value_type = words::PackageStatus)]
    status: &'static str,
    is_public: bool,
    #[schema(value_type = Object)]
    device_requirements: Value,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    deleted_at: Option<DateTime<Utc>>,
    #[schema(value_type = words::PackagePlatform)]
    platform: &'static str,
    hash: String,
    link: &'static str,
    #[schema(value_type = Object)]
    platform_config: Value,
    entrypoint: String,
    revision: Revision,
    description: String,
}

/// A text for apps and a number for engines.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Revision {
    App(String),
    Engine(u32),
}

/// One package: an app stands inside `app`, an engine by itself.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum OnePackage {
    App { app: PackageOut },
    Engine(PackageOut),
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum PackagesOut {
    Apps { apps: Vec<PackageOut>, pagination: Pagination },
    Engines { engines: Vec<PackageOut>, pagination: Pagination },
}

/// What apps tell as a plain message, engines tell as a message of their own.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Told {
    App(Done),
    Engine(EngineMessage),
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EngineMessage {
    #[schema(value_type = String)]
    engine_id: PackageId,
    engine_tag: String,
    /// Always empty: the archive is behind the link.
    engine_data: &'static str,
    engine_link: String,
    engine_status: &'static str,
}

impl Told {
    pub fn status(package: &Package) -> Self {
        match Family::of(package.manifest.kind) {
            Family::App => Self::App(done_with(status_name(package.active).to_owned())),
            Family::Engine => Self::Engine(EngineMessage::new(package, String::new())),
        }
    }

    pub fn link(package: &Package, link: String) -> Self {
        match Family::of(package.manifest.kind) {
            Family::App => Self::App(done_with(link)),
            Family::Engine => Self::Engine(EngineMessage::new(package, link)),
        }
    }
}

impl EngineMessage {
    fn new(package: &Package, link: String) -> Self {
        Self {
            engine_id: package.id,
            engine_tag: format!("{}@{}", package.manifest.name, package.manifest.version),
            engine_data: "",
            engine_link: link,
            engine_status: status_name(package.active),
        }
    }
}

const fn status_name(active: bool) -> &'static str {
    if active { "active" } else { "inactive" }
}

impl PackageOut {
    pub fn new(package: Package, owners: &OwnerNames) -> Self {
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
            user_name: owners.get(&package.workspace).cloned().unwrap_or_default(),
            status: status_name(package.active),
            is_public: package.public,
            device_requirements: json!({
                "minCpu": manifest.needs.cpu_millis / 1000,
                "minMemory": manifest.needs.memory_mib / 1024,
                "minDisk": manifest.needs.disk_mib / 1024,
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
                Kind::App => Revision::App(package.revision.to_string()),
                Kind::Partitioner | Kind::Assembler => Revision::Engine(package.revision),
            },
            name: manifest.name,
            entrypoint: manifest.entrypoint.into(),
            description: manifest.description,
        }
    }
}
