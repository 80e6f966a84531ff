//! The recent batches: each is a row.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use common::ids::RunId;
use common::protocol::LogLine;
use common::run::task::{Lease, TaskRef};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{FromQueryResult, QueryOrder, QuerySelect};

use super::{Batch, End, Filter};
use crate::store::market::runs;
use crate::store::market::runs::purge::{self as old_runs, Ended, RUNS_PURGED};
use crate::store::query::insert::RowWriter;
use crate::store::{corrupt, micros, stage_no, stage_number};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "log_tail")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub run: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i64,
    pub stage: i32,
    pub idx: i64,
    pub attempt: i32,
    pub first: i32,
    pub next: i32,
    pub bytes: i64,
    /// Postcard of the lines.
    pub lines: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// At most `batches` batches of a run after the one of a number, in their order.
pub async fn after(
    db: &impl ConnectionTrait,
    run: RunId,
    filter: Filter<'_>,
    number: i64,
    batches: u64,
) -> Result<Vec<Batch>, DbErr> {
    let of_run = Column::Run.eq(run.uuid()).and(Column::Number.gt(number));
    let mut query = Entity::find().filter(of_run);
    if !filter.stages.is_empty() {
        let stages = filter.stages.iter().map(|stage| stage_number(*stage));
        query = query.filter(Column::Stage.is_in(stages));
    }
    if !filter.tasks.is_empty() {
        let tasks = filter.tasks.iter().map(|index| i64::from(*index));
        query = query.filter(Column::Idx.is_in(tasks));
    }
    let rows = query.order_by_asc(Column::Number).limit(batches).all(db).await?;
    rows.iter().map(read).collect()
}

/// The batch of a run of this number.
pub async fn find(
    db: &impl ConnectionTrait,
    run: RunId,
    number: i64,
) -> Result<Option<Batch>, DbErr> {
    let row = Entity::find_by_id((run.uuid(), number)).one(db).await?;
    row.as_ref().map(read).transpose()
}

/// Some runs that have more than so many bytes of text here, or ended before `then`.
pub async fn due(
    db: &impl ConnectionTrait,
    bytes_max: u64,
    then: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<RunId>, DbErr> {
    let bytes_max = i64::try_from(bytes_max).unwrap_or(i64::MAX);
    let ended = Expr::col((runs::Entity, runs::Column::EndedUs));
    let many = Expr::col((Entity, Column::Bytes)).sum().gt(bytes_max);
    let rows = Entity::find()
        .select_only()
        .column(Column::Run)
        .join(
            sea_orm::JoinType::InnerJoin,
            Entity::belongs_to(runs::Entity).from(Column::Run).to(runs::Column::Id).into(),
        )
        .group_by(Column::Run)
        .group_by(ended.clone())
        .having(many.or(ended.lt(micros(then))))
        .limit(limit)
        .into_tuple::<Uuid>()
        .all(db)
        .await?;
    Ok(rows.into_iter().map(RunId::new).collect())
}

/// Stores batches, which have numbers of their own.
pub async fn insert(db: &impl ConnectionTrait, batches: &[Batch]) -> Result<(), DbErr> {
    static NEW: RowWriter<Entity> = RowWriter::new();
    NEW.write(db, batches.iter().map(write).collect::<Result<Vec<_>, _>>()?).await
}

/// Deletes the batches of a run in a span of numbers; gives how many there were.
pub async fn delete(
    db: &impl ConnectionTrait,
    run: RunId,
    (from, to): (i64, i64),
) -> Result<u64, DbErr> {
    let of_run = Column::Run.eq(run.uuid()).and(Column::Number.between(from, to));
    Ok(Entity::delete_many().filter(of_run).exec(db).await?.rows_affected)
}

/// Deletes the lines of some runs that ended before `then`; false where there are none left.
pub async fn purge(db: &impl ConnectionTrait, ended: Ended) -> Result<bool, DbErr> {
    let runs = old_runs::with_rows("log_tail", ended, RUNS_PURGED);
    let gone = Entity::delete_many().filter(Column::Run.in_subquery(runs)).exec(db).await?;
    Ok(gone.rows_affected > 0)
}

#[derive(FromQueryResult)]
struct EndRow {
    stage: i32,
    idx: i64,
    attempt: i32,
    next: i32,
    bytes: i64,
}

/// How far the logs of a run's attempts go that have lines here, and how many bytes of them are.
pub(super) async fn ends(
    db: &impl ConnectionTrait,
    run: RunId,
) -> Result<HashMap<Lease, End>, DbErr> {
    let rows = Entity::find()
        .select_only()
        .columns([Column::Stage, Column::Idx, Column::Attempt])
        .column_as(Column::Next.max(), "next")
        // PostgreSQL gives the sum as another type.
        .column_as(Column::Bytes.sum().cast_as("bigint"), "bytes")
        .filter(Column::Run.eq(run.uuid()))
        .group_by(Column::Stage)
        .group_by(Column::Idx)
        .group_by(Column::Attempt)
        .into_model::<EndRow>()
        .all(db)
        .await?;
    let end = |row: EndRow| {
        let lease = lease(run, row.stage, row.idx, row.attempt)?;
        let end = u32::try_from(row.next).unwrap_or(u32::MAX);
        Ok((lease, (end, row.bytes.unsigned_abs())))
    };
    rows.into_iter().map(end).collect()
}

fn lease(run: RunId, stage: i32, idx: i64, attempt: i32) -> Result<Lease, DbErr> {
    let index = u32::try_from(idx).map_err(|_| corrupt("task index"))?;
    let task = TaskRef { run, stage: stage_no(stage)?, index };
    Ok(Lease { task, attempt: u32::try_from(attempt).unwrap_or(0) })
}

pub(in crate::store) fn read(row: &Model) -> Result<Batch, DbErr> {
    let lines: Vec<LogLine> = postcard::from_bytes(&row.lines).map_err(|_| corrupt("log batch"))?;
    let lease = lease(RunId::new(row.run), row.stage, row.idx, row.attempt)?;
    let first = u32::try_from(row.first).map_err(|_| corrupt("log batch"))?;
    Ok(Batch { number: row.number, lease, first, lines })
}

fn write(batch: &Batch) -> Result<ActiveModel, DbErr> {
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let Lease { task, attempt } = batch.lease;
    let lines = postcard::to_stdvec(&batch.lines).map_err(|_| corrupt("log batch"))?;
    Ok(ActiveModel {
        run: Set(task.run.uuid()),
        number: Set(batch.number),
        stage: Set(stage_number(task.stage)),
        idx: Set(task.index.into()),
        attempt: Set(number(attempt)),
        first: Set(number(batch.first)),
        next: Set(number(batch.end())),
        bytes: Set(i64::try_from(batch.bytes()).unwrap_or(i64::MAX)),
        lines: Set(lines),
    })
}
