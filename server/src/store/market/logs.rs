//! What tasks' containers and their nodes wrote: a row is a batch of lines.

use chrono::{DateTime, Utc};
use common::ids::RunId;
use common::market::LogRecord;
use common::protocol::{Level, LogLine, Stream};
use common::run::task::{Lease, StageNo, TaskRef};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict};
use sea_orm::{QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};

use crate::store::row_groups;
use crate::store::{corrupt, stage_no, stage_number, time};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "task_logs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub run: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub stage: i32,
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

/// Runs whose lines are deleted in one statement: it holds up the coordinator's.
const RUNS_PURGED: u64 = 16;

/// A line that a container wrote, or its node.
#[derive(Debug, Clone, PartialEq)]
pub struct LogView {
    pub stage: StageNo,
    pub index: u32,
    pub attempt: u32,
    pub at: DateTime<Utc>,
    pub level: Level,
    pub stream: Stream,
    pub text: String,
}

/// Which batch of a run's logs: its stage, task, attempt and first line. They are in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BatchPlace(i32, i64, i32, i32);

/// Lines that came together.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    pub place: BatchPlace,
    /// As they are stored.
    pub bytes: usize,
    pub lines: Vec<LogView>,
}

/// The lines of the first batches of a run.
pub async fn find(
    db: &impl ConnectionTrait,
    run: RunId,
    batches: u64,
) -> Result<Vec<LogView>, DbErr> {
    let found = find_after(db, run, &[], &[], None, batches).await?;
    Ok(found.into_iter().flat_map(|batch| batch.lines).collect())
}

/// At most `batches` batches of a run's log lines after one; an empty `tasks` or `stages` means
/// all. Each has at most some 100 KiB.
pub async fn find_after(
    db: &impl ConnectionTrait,
    run: RunId,
    stages: &[StageNo],
    tasks: &[u32],
    after: Option<BatchPlace>,
    batches: u64,
) -> Result<Vec<Batch>, DbErr> {
    let mut query = Entity::find().filter(Column::Run.eq(run.uuid()));
    if let Some(BatchPlace(stage, index, attempt, first)) = after {
        // Compared part by part, as the primary key's index is sorted.
        let columns = [Column::Stage, Column::Idx, Column::Attempt, Column::First];
        let place =
            [Expr::value(stage), Expr::value(index), Expr::value(attempt), Expr::value(first)];
        query = query.filter(Expr::tuple(columns.map(Expr::col)).gt(Expr::tuple(place)));
    }
    if !stages.is_empty() {
        query = query.filter(Column::Stage.is_in(stages.iter().map(|stage| stage_number(*stage))));
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
    let batch = |row: &Model| {
        let place = BatchPlace(row.stage, row.idx, row.attempt, row.first);
        Ok(Batch { place, bytes: row.lines.len(), lines: read(row)?.collect() })
    };
    rows.iter().map(batch).collect()
}

/// At most `batches` batches of a run's log lines, or of one task's, before one: those of the last
/// task first.
pub async fn find_before(
    db: &impl ConnectionTrait,
    run: RunId,
    task: Option<TaskRef>,
    before: Option<BatchPlace>,
    batches: u64,
) -> Result<Vec<Batch>, DbErr> {
    let mut query = Entity::find().filter(Column::Run.eq(run.uuid()));
    if let Some(TaskRef { stage, index, .. }) = task {
        query = query.filter(Column::Stage.eq(stage_number(stage)));
        query = query.filter(Column::Idx.eq(i64::from(index)));
    }
    if let Some(BatchPlace(stage, index, attempt, first)) = before {
        let columns = [Column::Stage, Column::Idx, Column::Attempt, Column::First];
        let place =
            [Expr::value(stage), Expr::value(index), Expr::value(attempt), Expr::value(first)];
        query = query.filter(Expr::tuple(columns.map(Expr::col)).lt(Expr::tuple(place)));
    }
    let rows = query
        .order_by_desc(Column::Stage)
        .order_by_desc(Column::Idx)
        .order_by_desc(Column::Attempt)
        .order_by_desc(Column::First)
        .limit(batches)
        .all(db)
        .await?;
    let batch = |row: &Model| {
        let place = BatchPlace(row.stage, row.idx, row.attempt, row.first);
        Ok(Batch { place, bytes: row.lines.len(), lines: read(row)?.collect() })
    };
    rows.iter().map(batch).collect()
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
        stage_number(task.stage),
        i64::from(task.index),
        number(attempt),
        number(first),
    );
    let row = Entity::find_by_id(key).one(db).await?;
    row.map_or_else(|| Ok(Vec::new()), |row| Ok(read(&row)?.collect()))
}

/// Deletes the lines of some runs that ended before `then`; false where there are none left.
pub async fn purge(db: &impl ConnectionTrait, then: DateTime<Utc>) -> Result<bool, DbErr> {
    let ended = super::runs::with_rows_ended_before("task_logs", then, RUNS_PURGED);
    let gone = Entity::delete_many().filter(Column::Run.in_subquery(ended)).exec(db).await?;
    Ok(gone.rows_affected > 0)
}

pub(in crate::store) fn read(row: &Model) -> Result<impl Iterator<Item = LogView> + use<>, DbErr> {
    let lines: Vec<LogLine> = postcard::from_bytes(&row.lines).map_err(|_| corrupt("log batch"))?;
    let stage = stage_no(row.stage)?;
    let index = u32::try_from(row.idx).unwrap_or(u32::MAX);
    let attempt = u32::try_from(row.attempt).unwrap_or(0);
    Ok(lines.into_iter().map(move |line| LogView {
        stage,
        index,
        attempt,
        at: time(line.at_us),
        level: line.level,
        stream: line.stream,
        text: line.text,
    }))
}

pub(crate) async fn insert(db: &impl ConnectionTrait, logs: &[LogRecord]) -> Result<(), DbErr> {
    for some in row_groups(logs) {
        let mut rows = Vec::with_capacity(some.len());
        for record in some {
            let lines = postcard::to_stdvec(&record.lines).map_err(|_| corrupt("log batch"))?;
            rows.push(ActiveModel {
                run: Set(record.lease.task.run.uuid()),
                stage: Set(stage_number(record.lease.task.stage)),
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
