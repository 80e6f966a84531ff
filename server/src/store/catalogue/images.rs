//! Container images that a workspace has pushed, under their references.

use common::digest::Digest;
use common::ids::WorkspaceId;
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder as _,
    QuerySelect as _, Select, Set,
};

use crate::clock;
use crate::store::micros;

pub(in crate::store) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "images")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub workspace: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub reference: String,
        pub digest: String,
        pub size: i64,
        pub updated_us: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    pub reference: String,
    /// Of the archive that the engine's save gave.
    pub digest: Digest,
    pub size: u64,
}

/// A part of a workspace's images by their references, and how many there are in all.
pub async fn list(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    offset: u64,
    limit: u64,
) -> Result<(Vec<StoredImage>, u64), DbErr> {
    let own = row::Entity::find().filter(row::Column::Workspace.eq(owner.uuid()));
    let total = own.clone().count(db).await?;
    let rows = own.order_by_asc(row::Column::Reference).offset(offset).limit(limit).all(db).await?;
    Ok((rows.into_iter().map(read).collect::<Result<_, _>>()?, total))
}

fn read(row: row::Model) -> Result<StoredImage, DbErr> {
    let digest = row.digest.parse().map_err(|e| DbErr::Type(format!("images.digest: {e}")))?;
    Ok(StoredImage { reference: row.reference, digest, size: row.size.unsigned_abs() })
}

/// Points a reference at an image in the bucket.
pub async fn put(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    image: &StoredImage,
) -> Result<(), DbErr> {
    use row::Column as C;
    let row = row::ActiveModel {
        workspace: Set(owner.uuid()),
        reference: Set(image.reference.clone()),
        digest: Set(image.digest.to_string()),
        size: Set(image.size.cast_signed()),
        updated_us: Set(micros(clock::now())),
    };
    let replace = OnConflict::columns([C::Workspace, C::Reference])
        .update_columns([C::Digest, C::Size, C::UpdatedUs])
        .to_owned();
    row::Entity::insert(row).on_conflict(replace).exec_without_returning(db).await?;
    Ok(())
}

/// Takes a reference away; gives what it led to.
pub async fn delete(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    reference: &str,
) -> Result<Option<StoredImage>, DbErr> {
    let found = find(db, owner, reference).await?;
    row::Entity::delete_by_id((owner.uuid(), reference.to_owned())).exec(db).await?;
    Ok(found)
}

/// Whether a reference of a workspace leads to this image.
pub async fn has(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    digest: Digest,
) -> Result<bool, DbErr> {
    let own = named(digest).filter(row::Column::Workspace.eq(owner.uuid()));
    Ok(own.count(db).await? > 0)
}

/// Whether a reference of anybody leads to this image.
pub async fn is_named(db: &impl ConnectionTrait, digest: Digest) -> Result<bool, DbErr> {
    Ok(named(digest).count(db).await? > 0)
}

fn named(digest: Digest) -> Select<row::Entity> {
    row::Entity::find().filter(row::Column::Digest.eq(digest.to_string()))
}

pub async fn find(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    reference: &str,
) -> Result<Option<StoredImage>, DbErr> {
    let row = row::Entity::find_by_id((owner.uuid(), reference.to_owned())).one(db).await?;
    row.map(read).transpose()
}
