//! What attempts of calls gave. An attempt that is under way has no row.

use common::call::Answer;
use common::ids::RunId;
use common::market::AnswerRecord;
use common::run::task::{Lease, StageNo, TaskRef};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{QueryOrder, QuerySelect};

use crate::store::market::runs::purge::{self as old_runs, Ended, RUNS_PURGED};
use crate::store::query::document;
use crate::store::query::insert::RowWriter;
use crate::store::query::rows;
use crate::store::query::rows::UnreadableRow;
use crate::store::{Db, corrupt, corrupt_by, micros, stage_no, stage_number, storable, time};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "call_answers")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub run: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub stage: i32,
    #[sea_orm(primary_key, auto_increment = false)]
    pub idx: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub attempt: i32,
    pub began_us: i64,
    pub took_ms: i64,
    pub status: Option<i16>,
    pub headers: Vec<u8>,
    pub body: Vec<u8>,
    pub truncated: bool,
    pub error: Option<String>,
    pub next_us: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Which attempt of a run: its stage, its task, its number. They are in this order.
pub type Place = (StageNo, u32, u32);

/// What the attempts of a run's calls gave, after one of them, at most `limit`.
pub async fn find(
    db: &impl ConnectionTrait,
    run: RunId,
    after: Option<Place>,
    limit: u64,
) -> Result<Vec<AnswerRecord>, DbErr> {
    let mut query = Entity::find().filter(Column::Run.eq(run.uuid()));
    if let Some((stage, index, attempt)) = after {
        // Compared part by part, as the primary key's index is sorted.
        let columns = [Column::Stage, Column::Idx, Column::Attempt].map(Expr::col);
        let place = [
            Expr::value(stage_number(stage)),
            Expr::value(i64::from(index)),
            Expr::value(count(attempt)),
        ];
        query = query.filter(Expr::tuple(columns).gt(Expr::tuple(place)));
    }
    let rows = query
        .order_by_asc(Column::Stage)
        .order_by_asc(Column::Idx)
        .order_by_asc(Column::Attempt)
        .limit(limit)
        .all(db)
        .await?;
    rows.iter().map(read).collect()
}

pub(in crate::store) async fn insert(
    db: &impl ConnectionTrait,
    answers: &[AnswerRecord],
) -> Result<(), DbErr> {
    static NEW: RowWriter<Entity> = RowWriter::new();
    NEW.write(db, answers.iter().map(row).collect::<Result<Vec<_>, _>>()?).await
}

/// Deletes the answers of some runs that ended before `then`; false where there are none left.
pub async fn purge(db: &impl ConnectionTrait, ended: Ended) -> Result<bool, DbErr> {
    let runs = old_runs::with_rows("call_answers", ended, RUNS_PURGED);
    let gone = Entity::delete_many().filter(Column::Run.in_subquery(runs)).exec(db).await?;
    Ok(gone.rows_affected > 0)
}

/// Finds the answers that cannot be read.
pub(in crate::store) async fn check(db: &Db, found: &mut Vec<UnreadableRow>) -> Result<(), DbErr> {
    rows::check::<Entity, _>(db, found, |row| read(&row)).await
}

fn row(record: &AnswerRecord) -> Result<ActiveModel, DbErr> {
    let AnswerRecord { lease: Lease { task, attempt }, began_at, answer, next_at } = record;
    Ok(ActiveModel {
        run: Set(task.run.uuid()),
        stage: Set(stage_number(task.stage)),
        idx: Set(task.index.into()),
        attempt: Set(count(*attempt)),
        began_us: Set(micros(*began_at)),
        took_ms: Set(answer.took_ms.into()),
        status: Set(answer.status.and_then(|status| i16::try_from(status).ok())),
        headers: Set(document::pack(&answer.headers)?),
        body: Set(answer.body.clone()),
        truncated: Set(answer.truncated),
        error: Set(answer.error.as_deref().map(storable)),
        next_us: Set(next_at.map(micros)),
    })
}

fn read(row: &Model) -> Result<AnswerRecord, DbErr> {
    let headers = document::unpack(&row.headers)
        .map_err(|error| corrupt_by("headers of an answer", &error))?;
    let task = TaskRef {
        run: RunId::new(row.run),
        stage: stage_no(row.stage)?,
        index: u32::try_from(row.idx).map_err(|_| corrupt("task index"))?,
    };
    let answer = Answer {
        status: row.status.and_then(|status| u16::try_from(status).ok()),
        headers,
        body: row.body.clone(),
        truncated: row.truncated,
        took_ms: u32::try_from(row.took_ms).unwrap_or(u32::MAX),
        retry_after_secs: None,
        error: row.error.clone(),
    };
    Ok(AnswerRecord {
        lease: Lease { task, attempt: u32::try_from(row.attempt).unwrap_or(0) },
        began_at: time(row.began_us),
        answer,
        next_at: row.next_us.map(time),
    })
}

fn count(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
