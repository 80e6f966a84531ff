//! Packages as they are shown.

use chrono::{DateTime, Utc};
use common::digest::Digest;
use common::ids::PackageId;
use common::package::manifest::{Kind, Platform};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Owner;
use crate::api::native::nodes::NodeResources;
use crate::definitions::OwnerNames;
use crate::definitions::packages::Package;

/// A version of an app or of an engine.
#[derive(Serialize, ToSchema)]
#[schema(as = Package)]
pub struct PackageOut {
    #[schema(value_type = String)]
    id: PackageId,
    name: String,
    /// As `major.minor`.
    version: String,
    kind: PackageKindOut,
    /// The workspace that has made it.
    owner: Owner,
    description: String,
    /// Whether new runs may use it.
    is_active: bool,
    /// Whether every workspace can find and import it.
    is_public: bool,
    /// From 1; a push of the same version adds one.
    revision: u32,
    platform: PackagePlatformOut,
    /// The container image of a package that runs in one.
    image: Option<String>,
    /// Whether the image takes the login that came with the package.
    is_image_private: bool,
    /// A path below the package's `app` folder.
    entrypoint: String,
    /// What a task of it may use.
    needs: NodeResources,
    /// The GPUs that will do, by name; empty where none is needed.
    gpus: Vec<String>,
    /// The ids of the secrets that its containers are given.
    secrets: Vec<String>,
    /// The JSON Schema of its params, where it carries one.
    #[schema(value_type = Option<Object>)]
    params_schema: Option<Value>,
    /// SHA-256 of its archive.
    #[schema(value_type = String)]
    digest: Digest,
    /// Bytes of its archive.
    size: u64,
    created_at: DateTime<Utc>,
    /// When it was pushed or changed last.
    updated_at: DateTime<Utc>,
}

/// What a package does: an `app` works on one chunk, a `partitioner` cuts the source, and an
/// `assembler` puts the results together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PackageKind)]
enum PackageKindOut {
    App,
    Partitioner,
    Assembler,
}

/// What a package runs in: an image (`docker`), or a static executable in the package (`binary`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Platform)]
enum PackagePlatformOut {
    Docker,
    Binary,
}

impl PackageOut {
    pub fn new(package: Package, owners: &OwnerNames) -> Self {
        let Package { manifest, .. } = package;
        let (platform, image, is_image_private) = match manifest.platform {
            Platform::Docker { container, private } => {
                (PackagePlatformOut::Docker, Some(container), private)
            }
            Platform::Binary => (PackagePlatformOut::Binary, None, false),
        };
        Self {
            id: package.id,
            name: manifest.name,
            version: manifest.version.to_string(),
            kind: manifest.kind.into(),
            owner: Owner::of(package.workspace, owners),
            description: manifest.description,
            is_active: package.active,
            is_public: package.public,
            revision: package.revision,
            platform,
            image,
            is_image_private,
            entrypoint: manifest.entrypoint.into(),
            needs: manifest.needs.into(),
            gpus: manifest.gpus,
            secrets: manifest.secrets,
            params_schema: package.schema,
            digest: package.digest,
            size: package.size,
            created_at: package.created_at,
            updated_at: package.updated_at,
        }
    }
}

impl From<Kind> for PackageKindOut {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::App => Self::App,
            Kind::Partitioner => Self::Partitioner,
            Kind::Assembler => Self::Assembler,
        }
    }
}
