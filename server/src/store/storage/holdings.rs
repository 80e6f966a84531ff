//! What each workspace keeps in the bucket: one row for each object, or for all of a run's
//! together, written before its bytes are taken.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::ids::WorkspaceId;
use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
    Set,
};

use crate::clock;
use crate::store::{Db, begin, micros, time};

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "holdings")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub workspace: Uuid,
        /// The object's key, or the folder of a run.
        #[sea_orm(primary_key, auto_increment = false)]
        pub path: String,
        pub bytes: i64,
        pub updated_us: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

use row::Column as C;

/// Something that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    pub owner: WorkspaceId,
    pub path: String,
    pub bytes: u64,
    pub updated_at: DateTime<Utc>,
}

/// The answer to a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    Done,
    /// With it, the workspace would have more than it may.
    Full {
        /// Of everything else.
        held: u64,
    },
}

/// Raises a holding to this many bytes, if the workspace then has no more than `most`. A holding of
/// as many bytes or more stays as it is. Two reservations at once must not be made for one
/// workspace.
pub async fn reserve(
    db: &Db,
    owner: WorkspaceId,
    path: &str,
    bytes: u64,
    most: u64,
) -> Result<Reserved, DbErr> {
    let tx = begin(db).await?;
    let own = find(&tx, owner, path).await?.unwrap_or(0);
    if own >= bytes {
        return Ok(Reserved::Done);
    }
    let held = total(&tx, owner).await?.saturating_sub(own);
    if held.saturating_add(bytes) > most {
        return Ok(Reserved::Full { held });
    }
    set(&tx, owner, path, bytes).await?;
    tx.commit().await?;
    Ok(Reserved::Done)
}

/// Says how many bytes a holding has.
pub async fn set(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    path: &str,
    bytes: u64,
) -> Result<(), DbErr> {
    let row = row::ActiveModel {
        workspace: Set(owner.uuid()),
        path: Set(path.to_owned()),
        bytes: Set(i64::try_from(bytes).unwrap_or(i64::MAX)),
        updated_us: Set(micros(clock::now())),
    };
    let replace = OnConflict::columns([C::Workspace, C::Path])
        .update_columns([C::Bytes, C::UpdatedUs])
        .to_owned();
    row::Entity::insert(row).on_conflict(replace).exec_without_returning(db).await?;
    Ok(())
}

/// Forgets a holding of one workspace.
pub async fn remove(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    path: &str,
) -> Result<(), DbErr> {
    row::Entity::delete_by_id((owner.uuid(), path.to_owned())).exec(db).await?;
    Ok(())
}

/// Forgets a holding of all its owners.
pub async fn remove_path(db: &impl ConnectionTrait, path: &str) -> Result<(), DbErr> {
    row::Entity::delete_many().filter(C::Path.eq(path)).exec(db).await?;
    Ok(())
}

pub async fn find(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    path: &str,
) -> Result<Option<u64>, DbErr> {
    let row = row::Entity::find_by_id((owner.uuid(), path.to_owned())).one(db).await?;
    Ok(row.map(|row| row.bytes.unsigned_abs()))
}

/// What a workspace has in all.
pub async fn total(db: &impl ConnectionTrait, owner: WorkspaceId) -> Result<u64, DbErr> {
    sum(db, row::Entity::find().filter(C::Workspace.eq(owner.uuid()))).await
}

async fn sum(db: &impl ConnectionTrait, rows: Select<row::Entity>) -> Result<u64, DbErr> {
    let sum: Option<i64> = rows
        .select_only()
        .expr_as(Expr::cust("CAST(COALESCE(SUM(bytes), 0) AS BIGINT)"), "sum")
        .into_tuple()
        .one(db)
        .await?;
    Ok(sum.unwrap_or(0).unsigned_abs())
}

/// What a workspace has below a path that ends in a slash, itself not counted.
pub async fn below(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    path: &str,
) -> Result<u64, DbErr> {
    let rows = row::Entity::find()
        .filter(C::Workspace.eq(owner.uuid()))
        .filter(C::Path.starts_with(path))
        .filter(C::Path.ne(path));
    sum(db, rows).await
}

/// The same by the first folder of the key: `caches`, `images`, `packages`, `runs`, `uploads`.
pub async fn by_kind(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
) -> Result<BTreeMap<&'static str, u64>, DbErr> {
    let mut kinds = BTreeMap::new();
    for kind in ["caches", "images", "packages", "runs", "uploads"] {
        let rows = row::Entity::find()
            .filter(C::Workspace.eq(owner.uuid()))
            .filter(C::Path.starts_with(format!("{kind}/")));
        kinds.insert(kind, sum(db, rows).await?);
    }
    Ok(kinds)
}

/// What each workspace has that has more than `least`.
pub async fn totals_above(
    db: &impl ConnectionTrait,
    least: u64,
) -> Result<Vec<(WorkspaceId, u64)>, DbErr> {
    let sum = || Expr::cust("CAST(SUM(bytes) AS BIGINT)");
    let rows: Vec<(sea_orm::prelude::Uuid, i64)> = row::Entity::find()
        .select_only()
        .column(C::Workspace)
        .expr_as(sum(), "sum")
        .group_by(C::Workspace)
        .having(sum().gt(i64::try_from(least).unwrap_or(i64::MAX)))
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows.into_iter().map(|(id, sum)| (WorkspaceId::new(id), sum.unsigned_abs())).collect())
}

/// Holdings of all workspaces below a folder, after this path, that have not changed since.
pub async fn page(
    db: &impl ConnectionTrait,
    folder: &str,
    after: Option<&str>,
    unchanged_since: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<Holding>, DbErr> {
    let mut query = row::Entity::find()
        .filter(C::Path.starts_with(format!("{folder}/")))
        .filter(C::UpdatedUs.lt(micros(unchanged_since)));
    if let Some(after) = after {
        query = query.filter(Expr::col(C::Path).gt(after));
    }
    let rows = query.order_by_asc(C::Path).limit(limit).all(db).await?;
    let holding = |row: row::Model| Holding {
        owner: WorkspaceId::new(row.workspace),
        path: row.path,
        bytes: row.bytes.unsigned_abs(),
        updated_at: time(row.updated_us),
    };
    Ok(rows.into_iter().map(holding).collect())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::store::testing::databases;

    #[tokio::test]
    async fn holdings_of_a_workspace_never_exceed_its_quota() {
        for fresh in databases().await {
            let db = &fresh.db;
            let owner = WorkspaceId::new(Uuid::now_v7());
            let other = WorkspaceId::new(Uuid::now_v7());
            let reserve = |whose, path: &'static str, bytes| reserve(db, whose, path, bytes, 100);

            assert_eq!(reserve(owner, "uploads/a", 60).await, Ok(Reserved::Done));
            assert_eq!(reserve(owner, "uploads/b", 41).await, Ok(Reserved::Full { held: 60 }));
            assert_eq!(reserve(other, "uploads/b", 100).await, Ok(Reserved::Done));
            assert_eq!(reserve(owner, "runs/c", 40).await, Ok(Reserved::Done));
            // A holding grows by the difference, and asking for less changes nothing.
            assert_eq!(reserve(owner, "runs/c", 10).await, Ok(Reserved::Done));
            assert_eq!(reserve(owner, "uploads/a", 61).await, Ok(Reserved::Full { held: 40 }));
            assert_eq!(total(db, owner).await, Ok(100));
            let kinds = by_kind(db, owner).await.unwrap();
            assert_eq!((kinds["uploads"], kinds["runs"], kinds["images"]), (60, 40, 0));

            set(db, owner, "uploads/a", 5).await.unwrap();
            remove(db, owner, "runs/c").await.unwrap();
            assert_eq!(total(db, owner).await, Ok(5), "{}", fresh.name);
            let later = clock::now() + chrono::TimeDelta::hours(1);
            let all = page(db, "uploads", None, later, 10).await.unwrap();
            assert_eq!(all.len(), 2);
            assert!(page(db, "uploads", Some(&all[1].path), later, 10).await.unwrap().is_empty());
            let earlier = clock::now() - chrono::TimeDelta::hours(1);
            assert!(page(db, "uploads", None, earlier, 10).await.unwrap().is_empty());
        }
    }
}
