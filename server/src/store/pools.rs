//! Pools: selections of nodes, which queues name.

use chrono::{DateTime, Utc};
use common::ids::{PoolId, WorkspaceId};
use common::run::queue::{Label, Pool as Nodes};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DbErr, QueryOrder, QuerySelect};

use super::query::document;
use super::{corrupt, micros, time};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "pools")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace: Uuid,
    pub project: String,
    pub name: String,
    pub description: String,
    pub created_us: i64,
    pub updated_us: i64,
    /// JSON of the selection.
    pub nodes: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A pool as its workspace has set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub id: PoolId,
    pub workspace: WorkspaceId,
    /// Empty for none.
    pub project: String,
    pub name: Label,
    pub description: String,
    pub nodes: Nodes,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Stores a new pool.
pub async fn insert(db: &impl ConnectionTrait, pool: &Pool) -> Result<(), DbErr> {
    Entity::insert(row(pool)?).exec_without_returning(db).await?;
    Ok(())
}

/// Stores a pool in place of the one with its id.
pub async fn replace(db: &impl ConnectionTrait, pool: &Pool) -> Result<(), DbErr> {
    let all = [Column::Name, Column::Description, Column::UpdatedUs, Column::Nodes];
    let newest = OnConflict::column(Column::Id).update_columns(all).to_owned();
    Entity::insert(row(pool)?).on_conflict(newest).exec_without_returning(db).await?;
    Ok(())
}

pub async fn find(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: PoolId,
) -> Result<Option<Pool>, DbErr> {
    Ok(find_many(db, owner, &[id]).await?.pop())
}

/// Those of the pools that belong to this workspace, in no order.
pub async fn find_many(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    ids: &[PoolId],
) -> Result<Vec<Pool>, DbErr> {
    let ids = ids.iter().map(|id| id.uuid());
    of(owner).filter(Column::Id.is_in(ids)).all(db).await?.iter().map(read).collect()
}

/// The pool of this name in a project of the workspace.
pub async fn find_named(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    project: &str,
    name: &str,
) -> Result<Option<Pool>, DbErr> {
    let named = of(owner).filter(Column::Project.eq(project)).filter(Column::Name.eq(name));
    named.one(db).await?.as_ref().map(read).transpose()
}

/// At most `limit` pools of a workspace after this one, in the order in which they were made.
pub async fn list(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    after: Option<PoolId>,
    limit: u64,
) -> Result<Vec<Pool>, DbErr> {
    let after = after.map_or(Uuid::nil(), PoolId::uuid);
    let rows = of(owner).filter(Column::Id.gt(after)).order_by_asc(Column::Id).limit(limit);
    rows.all(db).await?.iter().map(read).collect()
}

pub async fn count(db: &impl ConnectionTrait, owner: WorkspaceId) -> Result<u64, DbErr> {
    of(owner).count(db).await
}

/// Removes a pool; false where there is none.
pub async fn delete(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: PoolId,
) -> Result<bool, DbErr> {
    let gone = Entity::delete_many()
        .filter(Column::Workspace.eq(owner.uuid()))
        .filter(Column::Id.eq(id.uuid()))
        .exec(db)
        .await?;
    Ok(gone.rows_affected == 1)
}

fn of(owner: WorkspaceId) -> Select<Entity> {
    Entity::find().filter(Column::Workspace.eq(owner.uuid()))
}

fn row(pool: &Pool) -> Result<ActiveModel, DbErr> {
    Ok(ActiveModel {
        id: Set(pool.id.uuid()),
        workspace: Set(pool.workspace.uuid()),
        project: Set(pool.project.clone()),
        name: Set(pool.name.to_string()),
        description: Set(pool.description.clone()),
        created_us: Set(micros(pool.created_at)),
        updated_us: Set(micros(pool.updated_at)),
        nodes: Set(document::write(&pool.nodes)?),
    })
}

pub(in crate::store) fn read(row: &Model) -> Result<Pool, DbErr> {
    Ok(Pool {
        id: PoolId::new(row.id),
        workspace: WorkspaceId::new(row.workspace),
        project: row.project.clone(),
        name: row.name.parse().map_err(|_| corrupt("name of a pool"))?,
        description: row.description.clone(),
        nodes: document::read(&row.nodes)?,
        created_at: time(row.created_us),
        updated_at: time(row.updated_us),
    })
}
