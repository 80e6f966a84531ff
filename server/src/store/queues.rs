//! Named queues of runs.

use chrono::{DateTime, Utc};
use common::ids::{PoolId, QueueId, WorkspaceId};
use common::run::queue::{Label, QueueRules, Rank};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DbErr, QueryOrder, QuerySelect};

use super::query::document;
use super::{Db, corrupt, micros, time};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "queues")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace: Uuid,
    pub project: String,
    pub name: String,
    pub description: String,
    pub created_us: i64,
    pub updated_us: i64,
    pub rank: i32,
    pub max_running: i64,
    pub enabled: bool,
    pub paused: bool,
    pub timeout_secs: Option<i32>,
    pub idle_secs: Option<i32>,
    /// JSON of the ids of its pools.
    pub pools: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A queue as its workspace has set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    pub id: QueueId,
    /// Empty for none.
    pub project: String,
    pub name: Label,
    pub description: String,
    pub rules: QueueRules,
    /// A run that has not begun after so many seconds fails.
    pub timeout_secs: Option<u32>,
    /// How long a node that is started for the queue may be without work.
    pub idle_secs: Option<u32>,
    /// Its tasks go to nodes of any of these; none is all nodes.
    pub pools: Vec<PoolId>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Stores a new queue.
pub async fn insert(db: &impl ConnectionTrait, queue: &Queue) -> Result<(), DbErr> {
    Entity::insert(row(queue)?).exec_without_returning(db).await?;
    Ok(())
}

/// Stores a queue in place of the one with its id.
pub async fn replace(db: &impl ConnectionTrait, queue: &Queue) -> Result<(), DbErr> {
    let all = [
        Column::Name,
        Column::Description,
        Column::UpdatedUs,
        Column::Rank,
        Column::MaxRunning,
        Column::Enabled,
        Column::Paused,
        Column::TimeoutSecs,
        Column::IdleSecs,
        Column::Pools,
    ];
    let newest = OnConflict::column(Column::Id).update_columns(all).to_owned();
    Entity::insert(row(queue)?).on_conflict(newest).exec_without_returning(db).await?;
    Ok(())
}

pub async fn find(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: QueueId,
) -> Result<Option<Queue>, DbErr> {
    of(owner).filter(Column::Id.eq(id.uuid())).one(db).await?.as_ref().map(read).transpose()
}

/// The queue of this name in a project of the workspace.
pub async fn find_named(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    project: &str,
    name: &str,
) -> Result<Option<Queue>, DbErr> {
    let named = of(owner).filter(Column::Project.eq(project)).filter(Column::Name.eq(name));
    named.one(db).await?.as_ref().map(read).transpose()
}

/// At most `limit` queues of a workspace after this one, in the order in which they were made.
pub async fn list(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    after: Option<QueueId>,
    limit: u64,
) -> Result<Vec<Queue>, DbErr> {
    let after = after.map_or(Uuid::nil(), QueueId::uuid);
    let rows = of(owner).filter(Column::Id.gt(after)).order_by_asc(Column::Id).limit(limit);
    rows.all(db).await?.iter().map(read).collect()
}

pub async fn count(db: &impl ConnectionTrait, owner: WorkspaceId) -> Result<u64, DbErr> {
    of(owner).count(db).await
}

/// Removes a queue; false where there is none.
pub async fn delete(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: QueueId,
) -> Result<bool, DbErr> {
    let gone = Entity::delete_many()
        .filter(Column::Workspace.eq(owner.uuid()))
        .filter(Column::Id.eq(id.uuid()))
        .exec(db)
        .await?;
    Ok(gone.rows_affected == 1)
}

/// What the market keeps of all queues.
pub(in crate::store) async fn rules(db: &Db) -> Result<Vec<(QueueId, QueueRules)>, DbErr> {
    let rows = Entity::find().all(db).await?;
    rows.iter().map(|row| read(row).map(|queue| (queue.id, queue.rules))).collect()
}

fn of(owner: WorkspaceId) -> Select<Entity> {
    Entity::find().filter(Column::Workspace.eq(owner.uuid()))
}

fn row(queue: &Queue) -> Result<ActiveModel, DbErr> {
    let QueueRules { workspace, rank, max_running, is_enabled, is_paused } = queue.rules;
    Ok(ActiveModel {
        id: Set(queue.id.uuid()),
        workspace: Set(workspace.uuid()),
        project: Set(queue.project.clone()),
        name: Set(queue.name.to_string()),
        description: Set(queue.description.clone()),
        created_us: Set(micros(queue.created_at)),
        updated_us: Set(micros(queue.updated_at)),
        rank: Set(rank.number().into()),
        max_running: Set(max_running.into()),
        enabled: Set(is_enabled),
        paused: Set(is_paused),
        timeout_secs: Set(queue.timeout_secs.map(u32::cast_signed)),
        idle_secs: Set(queue.idle_secs.map(u32::cast_signed)),
        pools: Set(document::write(&queue.pools)?),
    })
}

pub(in crate::store) fn read(row: &Model) -> Result<Queue, DbErr> {
    let rank = u16::try_from(row.rank).ok().and_then(Rank::new);
    let name = row.name.parse();
    Ok(Queue {
        id: QueueId::new(row.id),
        project: row.project.clone(),
        name: name.map_err(|_| corrupt("name of a queue"))?,
        description: row.description.clone(),
        rules: QueueRules {
            workspace: WorkspaceId::new(row.workspace),
            rank: rank.ok_or_else(|| corrupt("rank of a queue"))?,
            max_running: u32::try_from(row.max_running).map_err(|_| corrupt("limit of a queue"))?,
            is_enabled: row.enabled,
            is_paused: row.paused,
        },
        timeout_secs: row.timeout_secs.map(i32::cast_unsigned),
        idle_secs: row.idle_secs.map(i32::cast_unsigned),
        pools: document::read(&row.pools)?,
        created_at: time(row.created_us),
        updated_at: time(row.updated_us),
    })
}

#[cfg(test)]
mod tests {
    use common::testing::at;

    use super::*;
    use crate::store::testing::databases;

    fn queue(owner: WorkspaceId, name: &str) -> Queue {
        Queue {
            id: QueueId::new(Uuid::now_v7()),
            project: "p".to_owned(),
            name: name.parse().unwrap(),
            description: "at night".to_owned(),
            rules: QueueRules {
                workspace: owner,
                rank: Rank::FIRST,
                max_running: u32::MAX,
                is_enabled: true,
                is_paused: false,
            },
            timeout_secs: Some(60),
            idle_secs: None,
            pools: vec![PoolId::new(Uuid::now_v7())],
            created_at: at(1),
            updated_at: at(2),
        }
    }

    #[tokio::test]
    async fn queues_read_back_by_id_and_name_and_their_rules_are_loaded() {
        for fresh in databases().await {
            let db = &fresh.db;
            let owner = WorkspaceId::new(Uuid::now_v7());
            let (one, mut two) = (queue(owner, "one"), queue(owner, "two"));
            insert(db, &one).await.unwrap();
            insert(db, &two).await.unwrap();
            assert!(insert(db, &queue(owner, "one")).await.is_err(), "{}", fresh.name);

            two.rules.is_paused = true;
            two.pools = Vec::new();
            replace(db, &two).await.unwrap();

            assert_eq!(find(db, owner, two.id).await.unwrap(), Some(two.clone()));
            assert_eq!(find_named(db, owner, "p", "one").await.unwrap(), Some(one.clone()));
            assert_eq!(find_named(db, owner, "", "one").await.unwrap(), None);
            let foreign = WorkspaceId::new(Uuid::now_v7());
            assert_eq!(find(db, foreign, one.id).await.unwrap(), None, "{}", fresh.name);
            let after_one = list(db, owner, Some(one.id), 9).await.unwrap();
            assert_eq!(after_one, std::slice::from_ref(&two));
            let mut known = rules(db).await.unwrap();
            known.sort_by_key(|(id, _)| *id);
            assert_eq!(known, [(one.id, one.rules), (two.id, two.rules)], "{}", fresh.name);
            assert!(delete(db, owner, one.id).await.unwrap());
            assert!(!delete(db, owner, one.id).await.unwrap());
            assert_eq!(count(db, owner).await.unwrap(), 1, "{}", fresh.name);
        }
    }
}
