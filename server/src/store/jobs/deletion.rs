//! Jobs that are deleted: drafts, and those whose runs have ended.

use chrono::{DateTime, Utc};
use common::ids::{JobId, WorkspaceId};
use common::run::RunState;
use common::schedule::ScheduleState;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder as _,
    QuerySelect as _, Select, UpdateMany,
};
use uuid::Uuid;

use super::record::row;
use super::record::row::Column as C;
use super::{JobLock, is_taken};
use crate::clock;
use crate::store::micros;

/// What runs is looked at again no sooner.
const RUNNING_SECS: i64 = 5;
/// What was due and is there all the same is looked at again after this: it has a schedule, or
/// another run of it went on.
const DUE_SECS: i64 = 60;

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

/// What was found of jobs that are deleted some time after the end of their latest run.
pub struct Looked {
    /// Those whose time has passed. One that has a schedule stays.
    pub due: Vec<(WorkspaceId, JobId)>,
    /// Whether there may be more to look at.
    pub is_full: bool,
}

/// Looks at jobs whose time may have passed at `now`, at most `limit`, and notes when to look at
/// them again: at their time where their run has ended, and otherwise no later than their time can
/// be. So a pass costs by what is due and what runs, and not by what waits for its time.
pub async fn look_for_deletion(
    db: &impl ConnectionTrait,
    now: DateTime<Utc>,
    limit: u64,
) -> Result<Looked, DbErr> {
    let now_us = micros(now);
    let looked: Vec<Uuid> =
        to_look_at(now_us, limit).select_only().column(C::Id).into_tuple().all(db).await?;
    let is_full = looked.len() as u64 == limit;
    if looked.is_empty() {
        return Ok(Looked { due: Vec::new(), is_full });
    }
    let states = [ScheduleState::Active, ScheduleState::Paused].map(ScheduleState::as_str);
    let has_schedule = format!(
        "EXISTS (SELECT 1 FROM schedules WHERE schedules.job = jobs.id \
         AND schedules.state IN ('{}'))",
        states.join("', '")
    );
    let time = time_us();
    let rows: Vec<(Uuid, Uuid)> = row::Entity::find()
        .filter(C::Id.is_in(looked.clone()))
        .filter(Expr::cust(format!("{time} <= {now_us}")))
        .filter(Expr::cust(format!("NOT {has_schedule}")))
        .select_only()
        .columns([C::Workspace, C::Id])
        .into_tuple()
        .all(db)
        .await?;
    let again = format!(
        "CASE WHEN {time} > {now_us} THEN {time} \
         WHEN {time} IS NOT NULL THEN {now_us} + {DUE_SECS} * 1000000 \
         WHEN auto_delete_secs > {RUNNING_SECS} THEN {now_us} + auto_delete_secs * 1000000 \
         ELSE {now_us} + {RUNNING_SECS} * 1000000 END"
    );
    row::Entity::update_many()
        .col_expr(C::DeleteLookUs, Expr::cust(again))
        .filter(C::Id.is_in(looked))
        .exec(db)
        .await?;
    let key = |(owner, id)| (WorkspaceId::new(owner), JobId::new(id));
    Ok(Looked { due: rows.into_iter().map(key).collect(), is_full })
}

/// The jobs that are to be looked at by then, those that have waited the longest first.
fn to_look_at(now_us: i64, limit: u64) -> Select<row::Entity> {
    row::Entity::find()
        .filter(C::DeletedUs.is_null())
        .filter(C::DeleteLookUs.lte(now_us))
        .order_by_asc(C::DeleteLookUs)
        .limit(limit)
}

/// The time of a job whose latest run has ended, in SQL.
fn time_us() -> String {
    format!(
        "(SELECT runs.ended_us + jobs.auto_delete_secs * 1000000 FROM runs \
         WHERE runs.id = jobs.run AND runs.state <> '{}')",
        RunState::Ending.as_str()
    )
}

/// Hides a job whose run has ended. Its run and its line in the wallet stay.
pub async fn delete_ended(
    db: &impl ConnectionTrait,
    lock: &JobLock,
    owner: WorkspaceId,
) -> Result<bool, DbErr> {
    let deleted = row::Entity::update_many()
        .col_expr(C::DeletedUs, Expr::value(micros(clock::now())))
        .filter(C::Workspace.eq(owner.uuid()))
        .filter(C::Id.eq(lock.job().uuid()))
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

#[cfg(test)]
mod tests;
