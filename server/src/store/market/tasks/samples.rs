//! What running attempts used, period by period.

use chrono::{DateTime, Utc};
use common::ids::RunId;
use common::protocol::Sample;
use common::run::task::{Lease, TaskRef};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{QueryOrder, QuerySelect};

use crate::store::market::runs::purge::{self as old_runs, Ended, RUNS_PURGED};
use crate::store::query::insert::RowWriter;
use crate::store::{corrupt, micros, stage_no, stage_number, time};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "metric_samples")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub run: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub at_us: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub stage: i32,
    #[sea_orm(primary_key, auto_increment = false)]
    pub idx: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub attempt: i32,
    pub cpu_millis: i64,
    pub memory_bytes: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What an attempt used in the period that ended then, on the average.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleView {
    pub lease: Lease,
    pub at: DateTime<Utc>,
    pub cpu_millis: u64,
    pub memory_bytes: u64,
}

/// The samples of some runs in a span of time, the oldest first, and at most this many.
pub async fn find(
    db: &impl ConnectionTrait,
    runs: &[RunId],
    (from, until): (DateTime<Utc>, DateTime<Utc>),
    limit: u64,
) -> Result<Vec<SampleView>, DbErr> {
    let rows = Entity::find()
        .filter(Column::Run.is_in(runs.iter().map(|run| run.uuid())))
        .filter(Column::AtUs.gte(micros(from)))
        .filter(Column::AtUs.lt(micros(until)))
        .order_by_asc(Column::AtUs)
        .limit(limit)
        .all(db)
        .await?;
    rows.iter().map(view).collect()
}

fn view(row: &Model) -> Result<SampleView, DbErr> {
    let stage = stage_no(row.stage)?;
    let index = u32::try_from(row.idx).map_err(|_| corrupt("task index"))?;
    let task = TaskRef { run: RunId::new(row.run), stage, index };
    Ok(SampleView {
        lease: Lease { task, attempt: u32::try_from(row.attempt).unwrap_or(0) },
        at: time(row.at_us),
        cpu_millis: u64::try_from(row.cpu_millis).unwrap_or(0),
        memory_bytes: u64::try_from(row.memory_bytes).unwrap_or(0),
    })
}

/// Deletes the samples of some runs that ended before `then`; false where there are none left.
pub async fn purge(db: &impl ConnectionTrait, ended: Ended) -> Result<bool, DbErr> {
    let runs = old_runs::with_rows("metric_samples", ended, RUNS_PURGED);
    let gone = Entity::delete_many().filter(Column::Run.in_subquery(runs)).exec(db).await?;
    Ok(gone.rows_affected > 0)
}

pub(crate) async fn insert(db: &impl ConnectionTrait, samples: &[Sample]) -> Result<(), DbErr> {
    // After a restart of the server a node may send some again.
    static NEW: RowWriter<Entity> = RowWriter::on_conflict(|| {
        let key = [Column::Run, Column::AtUs, Column::Stage, Column::Idx, Column::Attempt];
        OnConflict::columns(key).do_nothing().to_owned()
    });
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let rows = samples.iter().map(|sample| {
        let Lease { task, attempt } = sample.lease;
        ActiveModel {
            run: Set(task.run.uuid()),
            at_us: Set(sample.at_us),
            stage: Set(stage_number(task.stage)),
            idx: Set(task.index.into()),
            attempt: Set(number(attempt)),
            cpu_millis: Set(sample.cpu_millis.into()),
            memory_bytes: Set(i64::try_from(sample.memory_bytes).unwrap_or(i64::MAX)),
        }
    });
    NEW.write(db, rows).await
}
