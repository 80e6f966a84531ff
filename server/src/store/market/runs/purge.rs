//! What lets the data of runs be deleted that ended some time ago.

use chrono::{DateTime, Utc};
use common::ids::{JobId, RunId, WorkspaceId};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::SelectStatement;
use sea_orm::{QueryOrder as _, QuerySelect as _, QueryTrait as _};

use super::{Column, Entity};
use crate::store::market::plans;
use crate::store::micros;

/// Rows of so many runs are deleted by one statement.
pub(in crate::store) const RUNS_PURGED: u64 = 16;

/// Runs that ended before a time.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    pub before: DateTime<Utc>,
    /// Those of this workspace alone, where one is named.
    pub workspace: Option<WorkspaceId>,
}

/// Runs that ended before `then` and whose data is still in the bucket, oldest first.
pub async fn ended_before(
    db: &impl ConnectionTrait,
    then: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<(RunId, JobId)>, DbErr> {
    let rows: Vec<(Uuid, Uuid)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::Job])
        .filter(Column::Purged.eq(false))
        .filter(Column::EndedUs.lt(micros(then)))
        .order_by_asc(Column::EndedUs)
        .limit(limit)
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows.into_iter().map(|(id, job)| (RunId::new(id), JobId::new(job))).collect())
}

/// The ids of some of these runs of which rows are in this table.
pub(in crate::store) fn with_rows(
    table: &'static str,
    ended: Ended,
    limit: u64,
) -> SelectStatement {
    let exist = format!("EXISTS (SELECT 1 FROM {table} WHERE {table}.run = runs.id)");
    let mut runs = Entity::find().select_only().column(Column::Id);
    runs = runs.filter(Column::EndedUs.lt(micros(ended.before)));
    if let Some(workspace) = ended.workspace {
        runs = runs.filter(Column::Workspace.eq(workspace.uuid()));
    }
    runs.filter(Expr::cust(exist)).limit(limit).into_query()
}

/// Whether the plan of a run that has not ended names this text.
pub async fn pins(db: &impl ConnectionTrait, text: &str) -> Result<bool, DbErr> {
    let plans = plans::Entity::find()
        .select_only()
        .column(plans::Column::Digest)
        .filter(plans::Column::Body.contains(text))
        .into_query();
    let unfinished = Entity::find().filter(Column::EndedUs.is_null());
    Ok(unfinished.filter(Column::Plan.in_subquery(plans)).count(db).await? > 0)
}

/// Notes that a run's data has been deleted from the bucket.
pub async fn set_purged(db: &impl ConnectionTrait, run: RunId) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::Purged, Expr::value(true))
        .filter(Column::Id.eq(run.uuid()))
        .exec(db)
        .await?;
    Ok(())
}

/// Whether a run's data has been deleted from the bucket.
pub async fn is_purged(db: &impl ConnectionTrait, run: RunId) -> Result<bool, DbErr> {
    let purged = Entity::find_by_id(run.uuid()).filter(Column::Purged.eq(true));
    Ok(purged.count(db).await? > 0)
}

/// The ids of the runs whose data is still in the bucket, as a subquery.
pub(in crate::store) fn with_data() -> SelectStatement {
    let kept = Entity::find().filter(Column::Purged.eq(false));
    kept.select_only().column(Column::Id).into_query()
}
