//! What tasks' containers and their nodes wrote: a row is a batch of lines.

use chrono::{DateTime, Utc};
use common::ids::RunId;
use common::market::LogRecord;
use common::protocol::{Level, LogLine};
use common::task::{Lease, Stage};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, QueryOrder, QuerySelect};

use super::{batches, corrupt, time};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "task_logs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub run: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub stage: i16,
    #[sea_orm(primary_key, auto_increment = false)]
    pub idx: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub attempt: i32,
    #[sea_orm(primary_key, auto_increment = false)]
    pub first: i32,
    /// Postcard of the lines.
    pub lines: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A line that a container wrote, or its node.
#[derive(Debug, Clone, PartialEq)]
pub struct LogView {
    pub stage: Stage,
    pub index: u32,
    pub attempt: u32,
    pub at: DateTime<Utc>,
    pub level: Level,
    pub text: String,
}

/// A run's log lines in the order of stage, task and line; an empty `tasks` or `stages` means all.
/// Reads at most `batches` rows, each a few lines.
pub async fn find(
    db: &impl ConnectionTrait,
    run: RunId,
    stages: &[Stage],
    tasks: &[u32],
    batches: u64,
) -> Result<Vec<LogView>, DbErr> {
    let mut query = Entity::find().filter(Column::Run.eq(run.uuid()));
    if !stages.is_empty() {
        query = query.filter(Column::Stage.is_in(stages.iter().map(|stage| stage.number())));
    }
    if !tasks.is_empty() {
        query = query.filter(Column::Idx.is_in(tasks.iter().map(|index| i64::from(*index))));
    }
    let rows = query
        .order_by_asc(Column::Stage)
        .order_by_asc(Column::Idx)
        .order_by_asc(Column::Attempt)
        .order_by_asc(Column::First)
        .limit(batches)
        .all(db)
        .await?;
    let mut views = Vec::new();
    for row in rows {
        views.extend(read(&row)?);
    }
    Ok(views)
}

/// The batch of an attempt's lines that begins with line `first`.
pub async fn find_batch(
    db: &impl ConnectionTrait,
    lease: Lease,
    first: u32,
) -> Result<Vec<LogView>, DbErr> {
    let Lease { task, attempt } = lease;
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let key = (
        task.run.uuid(),
        task.stage.number(),
        i64::from(task.index),
        number(attempt),
        number(first),
    );
    let row = Entity::find_by_id(key).one(db).await?;
    row.map_or_else(|| Ok(Vec::new()), |row| Ok(read(&row)?.collect()))
}

pub(super) fn read(row: &Model) -> Result<impl Iterator<Item = LogView> + use<>, DbErr> {
    let lines: Vec<LogLine> = postcard::from_bytes(&row.lines).map_err(|_| corrupt("log batch"))?;
    let stage = Stage::from_number(row.stage).ok_or_else(|| corrupt("stage"))?;
    let index = u32::try_from(row.idx).unwrap_or(u32::MAX);
    let attempt = u32::try_from(row.attempt).unwrap_or(0);
    Ok(lines.into_iter().map(move |line| LogView {
        stage,
        index,
        attempt,
        at: time(line.at_us),
        level: line.level,
        text: line.text,
    }))
}

pub(crate) async fn insert(db: &impl ConnectionTrait, logs: &[LogRecord]) -> Result<(), DbErr> {
    for some in batches(logs) {
        let mut rows = Vec::with_capacity(some.len());
        for record in some {
            let lines = postcard::to_stdvec(&record.lines).map_err(|_| corrupt("log batch"))?;
            rows.push(ActiveModel {
                run: Set(record.lease.task.run.uuid()),
                stage: Set(record.lease.task.stage.number()),
                idx: Set(record.lease.task.index.into()),
                attempt: Set(i32::try_from(record.lease.attempt).unwrap_or(i32::MAX)),
                first: Set(i32::try_from(record.first).unwrap_or(i32::MAX)),
                lines: Set(lines),
            });
        }
        // After a restart of the server a node may send lines again.
        Entity::insert_many(rows)
            .on_conflict(
                OnConflict::columns([
                    Column::Run,
                    Column::Stage,
                    Column::Idx,
                    Column::Attempt,
                    Column::First,
                ])
                .update_column(Column::Lines)
                .to_owned(),
            )
            .exec_without_returning(db)
            .await?;
    }
    Ok(())
}
