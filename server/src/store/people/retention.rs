//! How long workspaces keep their logs that want to keep them for less time than the server does.

use std::num::NonZeroU32;

use common::ids::WorkspaceId;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _};
use sea_orm::{QuerySelect as _, Value};
use uuid::Uuid;

use super::workspaces::workspace::{Column, Entity};
use crate::store::corrupt;

/// The days for which a workspace keeps logs, where it has said so.
pub async fn log_days(
    db: &impl ConnectionTrait,
    id: WorkspaceId,
) -> Result<Option<NonZeroU32>, DbErr> {
    let row = Entity::find_by_id(id.uuid()).one(db).await?;
    row.and_then(|row| row.log_days).map(read).transpose()
}

/// Keeps a workspace's logs for so many days; for as long as the server's own where it says none.
pub async fn set_log_days(
    db: &impl ConnectionTrait,
    id: WorkspaceId,
    days: Option<NonZeroU32>,
) -> Result<(), DbErr> {
    let days = days.map(|days| i32::try_from(days.get()).unwrap_or(i32::MAX));
    Entity::update_many()
        .col_expr(Column::LogDays, Expr::value(Value::Int(days)))
        .filter(Column::Id.eq(id.uuid()))
        .exec(db)
        .await?;
    Ok(())
}

/// All workspaces that have said for how many days they keep logs.
pub async fn own_log_days(
    db: &impl ConnectionTrait,
) -> Result<Vec<(WorkspaceId, NonZeroU32)>, DbErr> {
    let rows: Vec<(Uuid, i32)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::LogDays])
        .filter(Column::LogDays.is_not_null())
        .into_tuple()
        .all(db)
        .await?;
    rows.into_iter().map(|(id, days)| Ok((WorkspaceId::new(id), read(days)?))).collect()
}

fn read(days: i32) -> Result<NonZeroU32, DbErr> {
    let days = u32::try_from(days).ok().and_then(NonZeroU32::new);
    days.ok_or_else(|| corrupt("log_days"))
}
