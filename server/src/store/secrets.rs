//! Secrets as rows: what is secret in them arrives sealed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::ids::{JobId, WorkspaceId};
use common::secret::{Purpose, SecretId, SecretKind};
use sea_orm::sea_query::{ExprTrait as _, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Set,
};
use uuid::Uuid;

use super::query::document;
use super::{corrupt, micros, time};
use crate::clock;

pub(super) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "secrets")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub workspace: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub kind: String,
        pub bound_to: Option<String>,
        pub name: String,
        pub access_key: String,
        pub sealed: Vec<u8>,
        pub params: String,
        pub hidden: bool,
        pub expires_us: Option<i64>,
        pub created_us: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A secret without its secret half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// A derived one is left out of lists.
    pub id: SecretId,
    pub purpose: Purpose,
    pub name: String,
    pub access_key: String,
    pub params: BTreeMap<String, String>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// Writes a secret, in place of one with the same id.
pub async fn put(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    secret: &Secret,
    sealed: Vec<u8>,
) -> Result<(), DbErr> {
    use row::Column as C;
    let row = row::ActiveModel {
        workspace: Set(owner.uuid()),
        id: Set(secret.id.as_str().to_owned()),
        kind: Set(secret.purpose.kind().name().to_owned()),
        bound_to: Set(secret.purpose.bound_to().map(ToOwned::to_owned)),
        name: Set(secret.name.clone()),
        access_key: Set(secret.access_key.clone()),
        sealed: Set(sealed),
        params: Set(document::write(&secret.params)?),
        hidden: Set(!secret.id.is_named()),
        expires_us: Set(secret.expires_at.map(micros)),
        created_us: Set(micros(clock::now())),
    };
    let replace = OnConflict::columns([C::Workspace, C::Id])
        .update_columns([
            C::Kind,
            C::BoundTo,
            C::Name,
            C::AccessKey,
            C::Sealed,
            C::Params,
            C::Hidden,
            C::ExpiresUs,
            C::CreatedUs,
        ])
        .to_owned();
    row::Entity::insert(row).on_conflict(replace).exec_without_returning(db).await?;
    Ok(())
}

/// A secret that has not expired, with its sealed half.
pub async fn find(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: &SecretId,
) -> Result<Option<(Secret, Vec<u8>)>, DbErr> {
    Ok(find_all(db, owner, std::slice::from_ref(id)).await?.pop())
}

/// Those of the secrets that are there and have not expired, with their sealed halves.
pub async fn find_all(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    ids: &[SecretId],
) -> Result<Vec<(Secret, Vec<u8>)>, DbErr> {
    let rows = row::Entity::find()
        .filter(row::Column::Workspace.eq(owner.uuid()))
        .filter(row::Column::Id.is_in(ids.iter().map(SecretId::as_str)))
        .all(db)
        .await?;
    let now = micros(clock::now());
    rows.into_iter()
        .filter(|row| row.expires_us.is_none_or(|end| end > now))
        .map(|row| Ok((read(&row)?, row.sealed)))
        .collect()
}

/// The workspace's secrets by id; `kind` narrows them.
pub async fn list(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    kind: Option<SecretKind>,
    limit: u64,
) -> Result<Vec<Secret>, DbErr> {
    let mut query = row::Entity::find()
        .filter(row::Column::Workspace.eq(owner.uuid()))
        .filter(row::Column::Hidden.eq(false));
    if let Some(kind) = kind {
        query = query.filter(row::Column::Kind.eq(kind.name()));
    }
    let rows = query.order_by_asc(row::Column::Id).limit(limit).all(db).await?;
    rows.iter().map(read).collect()
}

/// Secrets of all workspaces after this one, by their keys, with their sealed halves.
pub async fn page(
    db: &impl ConnectionTrait,
    after: Option<&(WorkspaceId, SecretId)>,
    limit: u64,
) -> Result<Vec<(WorkspaceId, Secret, Vec<u8>)>, DbErr> {
    use row::Column as C;
    let mut query = row::Entity::find();
    if let Some((owner, id)) = after {
        let same = C::Workspace.eq(owner.uuid()).and(C::Id.gt(id.as_str()));
        query = query.filter(C::Workspace.gt(owner.uuid()).or(same));
    }
    let rows = query.order_by_asc(C::Workspace).order_by_asc(C::Id).limit(limit).all(db).await?;
    let whole = |row: row::Model| {
        let secret = read(&row)?;
        Ok((WorkspaceId::new(row.workspace), secret, row.sealed))
    };
    rows.into_iter().map(whole).collect()
}

/// Some secrets of any workspaces, as [`page`] gives them, without those that cannot be read.
pub async fn sample(
    db: &impl ConnectionTrait,
    limit: u64,
) -> Result<Vec<(WorkspaceId, Secret, Vec<u8>)>, DbErr> {
    let rows = row::Entity::find().limit(limit).all(db).await?;
    let readable = |row: row::Model| {
        let secret = read(&row).ok()?;
        Some((WorkspaceId::new(row.workspace), secret, row.sealed))
    };
    Ok(rows.into_iter().filter_map(readable).collect())
}

/// Whether any workspace has a secret.
pub async fn any(db: &impl ConnectionTrait) -> Result<bool, DbErr> {
    let id: Option<String> =
        row::Entity::find().select_only().column(row::Column::Id).into_tuple().one(db).await?;
    Ok(id.is_some())
}

/// Writes a secret's sealed half again and nothing else.
pub async fn reseal(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: &SecretId,
    sealed: Vec<u8>,
) -> Result<(), DbErr> {
    row::Entity::update_many()
        .col_expr(row::Column::Sealed, sealed.into())
        .filter(row::Column::Workspace.eq(owner.uuid()))
        .filter(row::Column::Id.eq(id.as_str()))
        .exec(db)
        .await?;
    Ok(())
}

pub async fn count(db: &impl ConnectionTrait, owner: WorkspaceId) -> Result<u64, DbErr> {
    row::Entity::find()
        .filter(row::Column::Workspace.eq(owner.uuid()))
        .filter(row::Column::Hidden.eq(false))
        .count(db)
        .await
}

/// Removes a secret; false where there is none.
pub async fn delete(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    kind: SecretKind,
    id: &SecretId,
) -> Result<bool, DbErr> {
    let gone = row::Entity::delete_many()
        .filter(row::Column::Workspace.eq(owner.uuid()))
        .filter(row::Column::Id.eq(id.as_str()))
        .filter(row::Column::Kind.eq(kind.name()))
        .exec(db)
        .await?;
    Ok(gone.rows_affected == 1)
}

/// The ids of secrets after this one that members did not name, at most `limit`, by their keys.
pub async fn derived(
    db: &impl ConnectionTrait,
    after: Option<&(WorkspaceId, SecretId)>,
    limit: u64,
) -> Result<Vec<(WorkspaceId, SecretId)>, DbErr> {
    use row::Column as C;
    let mut query = row::Entity::find().filter(C::Hidden.eq(true));
    if let Some((owner, id)) = after {
        let same = C::Workspace.eq(owner.uuid()).and(C::Id.gt(id.as_str()));
        query = query.filter(C::Workspace.gt(owner.uuid()).or(same));
    }
    let rows: Vec<(Uuid, String)> = query
        .select_only()
        .columns([C::Workspace, C::Id])
        .order_by_asc(C::Workspace)
        .order_by_asc(C::Id)
        .limit(limit)
        .into_tuple()
        .all(db)
        .await?;
    let key = |(owner, id)| (WorkspaceId::new(owner), SecretId::stored(id));
    Ok(rows.into_iter().map(key).collect())
}

/// Removes what came with a job, and is of no other.
pub async fn delete_of_job(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    job: JobId,
) -> Result<(), DbErr> {
    let [own, variables] = SecretId::prefixes_of_job(job);
    let variables = row::Column::Id.starts_with(variables.as_str());
    row::Entity::delete_many()
        .filter(row::Column::Workspace.eq(owner.uuid()))
        .filter(row::Column::Id.starts_with(own.as_str()).or(variables))
        .exec(db)
        .await?;
    Ok(())
}

pub(super) fn read(row: &row::Model) -> Result<Secret, DbErr> {
    let kind = SecretKind::stored(&row.kind);
    let purpose = kind.and_then(|kind| Purpose::read(kind, row.bound_to.as_deref()).ok());
    let purpose = purpose.ok_or_else(|| corrupt("a secret's kind"))?;
    Ok(Secret {
        id: SecretId::stored(row.id.clone()),
        purpose,
        name: row.name.clone(),
        access_key: row.access_key.clone(),
        params: document::read(&row.params)?,
        expires_at: row.expires_us.map(time),
    })
}
