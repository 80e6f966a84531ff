//! Packages: apps and engines, each at one version.

use chrono::{DateTime, Utc};
use common::digest::Digest;
use common::ids::{PackageId, WorkspaceId};
use common::package::manifest::{Kind, Manifest};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait,
    QueryFilter, Select, Set,
};
use serde_json::Value;
use uuid::Uuid;

use super::imports::{self, Item};
use crate::clock;
use crate::store::query::document;
use crate::store::{Db, begin, micros, time};
pub use field::PackageField;
pub(in crate::store) use lookup::Asked;
pub use lookup::{Shelf, Which, find, list, owns, publishers, resolve};

mod field;
mod lookup;

pub(in crate::store) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "packages")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub workspace: Uuid,
        pub family: String,
        pub name: String,
        pub major: i32,
        pub minor: i32,
        pub revision: i32,
        pub active: bool,
        pub digest: String,
        pub size: i64,
        pub manifest: String,
        pub created_us: i64,
        pub updated_us: i64,
        pub public: bool,
        pub params_schema: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Apps and engines have names of their own: an app and an engine may be called the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    App,
    Engine,
}

impl Family {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Engine => "engine",
        }
    }

    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::App => Self::App,
            Kind::Partitioner | Kind::Assembler => Self::Engine,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub id: PackageId,
    pub workspace: WorkspaceId,
    pub manifest: Manifest,
    /// From 1; a push of the same version adds one.
    pub revision: u32,
    /// Whether new runs may use it.
    pub active: bool,
    /// Whether its owner has published it.
    pub public: bool,
    /// The JSON Schema of its params, where it carries one.
    pub schema: Option<Value>,
    /// Of the tar archive.
    pub digest: Digest,
    pub size: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Why a push is refused.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error("this name and version is there already, as a package of another kind")]
    OtherKind(Kind),
    #[error("database")]
    Db(#[from] DbErr),
}

/// A pushed archive that has been checked.
#[derive(Debug, Clone, Copy)]
pub struct Pushed<'a> {
    pub manifest: &'a Manifest,
    pub schema: Option<&'a Value>,
    pub digest: Digest,
    pub size: u64,
}

/// Records a pushed archive. The same name and version are written over and keep their id, whether
/// they are active, and whether they are published. A name that had been imported is the
/// workspace's own from now on.
pub async fn push(db: &Db, owner: WorkspaceId, pushed: Pushed<'_>) -> Result<Package, PushError> {
    let manifest = pushed.manifest;
    let family = Family::of(manifest.kind);
    let transaction = begin(db).await?;
    let (now, version) = (clock::now(), manifest.version);
    let found = of(owner, family)
        .filter(row::Column::Name.eq(&manifest.name))
        .filter(row::Column::Major.eq(integer(version.major)?))
        .filter(row::Column::Minor.eq(integer(version.minor)?))
        .one(&transaction)
        .await?;
    let schema = pushed.schema.map(document::write).transpose()?;
    let row = match found {
        Some(found) => {
            let before = read(&found)?.manifest.kind;
            if before != manifest.kind {
                return Err(PushError::OtherKind(before));
            }
            let revision = found.revision.saturating_add(1);
            let mut row = row::ActiveModel::from(found);
            row.revision = Set(revision);
            row.digest = Set(pushed.digest.to_string());
            row.size = Set(pushed.size.cast_signed());
            row.manifest = Set(document::write(manifest)?);
            row.params_schema = Set(schema);
            row.updated_us = Set(micros(now));
            row.update(&transaction).await?
        }
        None => {
            row::ActiveModel {
                id: Set(Uuid::now_v7()),
                workspace: Set(owner.uuid()),
                family: Set(family.as_str().to_owned()),
                name: Set(manifest.name.clone()),
                major: Set(integer(version.major)?),
                minor: Set(integer(version.minor)?),
                revision: Set(1),
                active: Set(false),
                digest: Set(pushed.digest.to_string()),
                size: Set(pushed.size.cast_signed()),
                manifest: Set(document::write(manifest)?),
                created_us: Set(micros(now)),
                updated_us: Set(micros(now)),
                public: Set(false),
                params_schema: Set(schema),
            }
            .insert(&transaction)
            .await?
        }
    };
    imports::delete(&transaction, owner, Item::Package(family), &manifest.name).await?;
    transaction.commit().await?;
    Ok(read(&row)?)
}

/// Switches a package on or off for new runs; false where the workspace has no such package.
pub async fn set_active(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: PackageId,
    active: bool,
) -> Result<bool, DbErr> {
    let changed = row::Entity::update_many()
        .col_expr(row::Column::Active, active.into())
        .filter(row::Column::Id.eq(id.uuid()))
        .filter(row::Column::Workspace.eq(owner.uuid()))
        .exec(db)
        .await?;
    Ok(changed.rows_affected == 1)
}

/// Publishes a package, or takes it back; false where the workspace has no such package.
pub async fn set_public(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: PackageId,
    public: bool,
) -> Result<bool, DbErr> {
    let changed = row::Entity::update_many()
        .col_expr(row::Column::Public, public.into())
        .filter(row::Column::Id.eq(id.uuid()))
        .filter(row::Column::Workspace.eq(owner.uuid()))
        .exec(db)
        .await?;
    Ok(changed.rows_affected == 1)
}

/// Whether a version of anybody's is this archive; of one workspace's, where it is given.
pub async fn is_named(
    db: &impl ConnectionTrait,
    owner: Option<WorkspaceId>,
    digest: Digest,
) -> Result<bool, DbErr> {
    let mut query = row::Entity::find().filter(row::Column::Digest.eq(digest.to_string()));
    if let Some(owner) = owner {
        query = query.filter(row::Column::Workspace.eq(owner.uuid()));
    }
    Ok(query.count(db).await? > 0)
}

/// Takes a package away from new runs for good; false where the workspace has no such package.
/// Runs that have started keep its bytes.
pub async fn delete(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: PackageId,
) -> Result<bool, DbErr> {
    let gone = row::Entity::delete_many()
        .filter(row::Column::Id.eq(id.uuid()))
        .filter(row::Column::Workspace.eq(owner.uuid()))
        .exec(db)
        .await?;
    Ok(gone.rows_affected == 1)
}

fn of(owner: WorkspaceId, family: Family) -> Select<row::Entity> {
    row::Entity::find()
        .filter(row::Column::Workspace.eq(owner.uuid()))
        .filter(row::Column::Family.eq(family.as_str()))
}

fn integer(n: u32) -> Result<i32, DbErr> {
    i32::try_from(n).map_err(|_| DbErr::Type("a version's number is too large".to_owned()))
}

pub(in crate::store) fn read(row: &row::Model) -> Result<Package, DbErr> {
    Ok(Package {
        id: PackageId::new(row.id),
        workspace: WorkspaceId::new(row.workspace),
        manifest: document::read(&row.manifest)?,
        revision: row.revision.unsigned_abs(),
        active: row.active,
        public: row.public,
        schema: row.params_schema.as_deref().map(document::read).transpose()?,
        digest: row.digest.parse().map_err(|e| DbErr::Type(format!("packages.digest: {e}")))?,
        size: row.size.unsigned_abs(),
        created_at: time(row.created_us),
        updated_at: time(row.updated_us),
    })
}

#[cfg(test)]
mod tests;
