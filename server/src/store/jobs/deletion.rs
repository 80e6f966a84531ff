//! Jobs that are deleted: drafts, and those whose runs have ended.

use chrono::{DateTime, Utc};
use common::ids::{JobId, WorkspaceId};
use common::run::RunState;
use common::schedule::ScheduleState;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QuerySelect as _, UpdateMany,
};
use uuid::Uuid;

use super::record::row;
use super::record::row::Column as C;
use super::{JobLock, is_taken};
use crate::clock;
use crate::store::micros;

/// Removes a draft as if it had never been, so that its id is free again; false where there is a
/// job of this id all the same.
pub async fn forget_draft(
    db: &impl ConnectionTrait,
    lock: &JobLock,
    owner: WorkspaceId,
) -> Result<bool, DbErr> {
    row::Entity::delete_many()
        .filter(C::Id.eq(lock.job().uuid()))
        .filter(C::Workspace.eq(owner.uuid()))
        .filter(C::Run.is_null())
        .exec(db)
        .await?;
    Ok(!is_taken(db, lock.job()).await?)
}

/// Deletes a draft; false where the job is gone or has been started.
pub async fn delete_draft(
    db: &impl ConnectionTrait,
    lock: &JobLock,
    owner: WorkspaceId,
) -> Result<bool, DbErr> {
    let update = draft(owner, lock).col_expr(C::DeletedUs, Expr::value(micros(clock::now())));
    Ok(update.exec(db).await?.rows_affected == 1)
}

/// Jobs whose time after the end of their latest run has passed at `now`, at most `limit`. One that
/// has a schedule stays.
pub async fn to_delete(
    db: &impl ConnectionTrait,
    now: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<(WorkspaceId, JobId)>, DbErr> {
    let due = format!(
        "EXISTS (SELECT 1 FROM runs WHERE runs.id = jobs.run AND runs.state <> '{}' \
         AND runs.ended_us + jobs.auto_delete_secs * 1000000 <= {})",
        RunState::Ending.as_str(),
        micros(now)
    );
    let states = [ScheduleState::Active, ScheduleState::Paused].map(ScheduleState::as_str);
    let scheduled = format!(
        "NOT EXISTS (SELECT 1 FROM schedules WHERE schedules.job = jobs.id \
         AND schedules.state IN ('{}'))",
        states.join("', '")
    );
    let rows: Vec<(Uuid, Uuid)> = row::Entity::find()
        .filter(C::AutoDeleteSecs.is_not_null())
        .filter(C::DeletedUs.is_null())
        .filter(Expr::cust(due))
        .filter(Expr::cust(scheduled))
        .select_only()
        .columns([C::Workspace, C::Id])
        .limit(limit)
        .into_tuple()
        .all(db)
        .await?;
    let key = |(owner, id)| (WorkspaceId::new(owner), JobId::new(id));
    Ok(rows.into_iter().map(key).collect())
}

/// Hides a job whose run has ended. Its run and its line in the wallet stay.
pub async fn delete_ended(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: JobId,
) -> Result<bool, DbErr> {
    let deleted = row::Entity::update_many()
        .col_expr(C::DeletedUs, Expr::value(micros(clock::now())))
        .filter(C::Workspace.eq(owner.uuid()))
        .filter(C::Id.eq(id.uuid()))
        .filter(C::DeletedUs.is_null())
        .exec(db)
        .await?;
    Ok(deleted.rows_affected == 1)
}

/// An update of a job that has not been started.
fn draft(owner: WorkspaceId, lock: &JobLock) -> UpdateMany<row::Entity> {
    row::Entity::update_many()
        .filter(C::Workspace.eq(owner.uuid()))
        .filter(C::Id.eq(lock.job().uuid()))
        .filter(C::Run.is_null())
        .filter(C::DeletedUs.is_null())
}
