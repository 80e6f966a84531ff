//! The bytes of small results, which came with the receipts of accepted tasks: a row for each task
//! that has some, written with the task's own.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use common::digest::Digest;
use common::ids::RunId;
use common::market::{TaskRecord, TaskState};
use common::protocol::{Content, Contents};
use common::run::task::{StageNo, TaskRef};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict};
use sea_orm::{QuerySelect, QueryTrait as _};

use crate::store::query::document;
use crate::store::query::rows;
use crate::store::query::rows::UnreadableRow;
use crate::store::{Db, corrupt, corrupt_by, row_groups, stage_number};

/// Rows that one statement deletes: a run can have a million.
const DELETED_AT_ONCE: u64 = 10_000;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "small_results")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub run: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub stage: i32,
    #[sea_orm(primary_key, auto_increment = false)]
    pub idx: i64,
    pub contents: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The small results of a task; empty where it has none.
pub async fn find(
    db: &impl ConnectionTrait,
    TaskRef { run, stage, index }: TaskRef,
) -> Result<Contents, DbErr> {
    let key = (run.uuid(), stage_number(stage), i64::from(index));
    let row = Entity::find_by_id(key).one(db).await?;
    row.map_or_else(|| Ok(Contents::default()), |row| read(&row))
}

/// The small results of those of a stage's tasks that have some.
pub async fn of_tasks(
    db: &impl ConnectionTrait,
    run: RunId,
    stage: StageNo,
    tasks: RangeInclusive<u32>,
) -> Result<BTreeMap<u32, Contents>, DbErr> {
    let rows = Entity::find()
        .filter(Column::Run.eq(run.uuid()))
        .filter(Column::Stage.eq(stage_number(stage)))
        .filter(Column::Idx.between(*tasks.start(), *tasks.end()))
        .all(db)
        .await?;
    let named = |row: Model| {
        let index = u32::try_from(row.idx).map_err(|_| corrupt("task index"))?;
        Ok((index, read(&row)?))
    };
    rows.into_iter().map(named).collect()
}

/// Stores what came with the receipts of accepted tasks.
pub(in crate::store) async fn put(
    db: &impl ConnectionTrait,
    tasks: &[TaskRecord],
) -> Result<(), DbErr> {
    let rows = tasks.iter().filter_map(row).collect::<Result<Vec<_>, _>>()?;
    for some in row_groups(&rows) {
        Entity::insert_many(some.iter().cloned())
            .on_conflict(
                OnConflict::columns([Column::Run, Column::Stage, Column::Idx])
                    .update_column(Column::Contents)
                    .to_owned(),
            )
            .exec_without_returning(db)
            .await?;
    }
    Ok(())
}

/// Deletes the small results of a run.
pub async fn delete(db: &impl ConnectionTrait, run: RunId) -> Result<(), DbErr> {
    let columns = [Column::Run, Column::Stage, Column::Idx];
    loop {
        let some = Entity::find()
            .select_only()
            .columns(columns)
            .filter(Column::Run.eq(run.uuid()))
            .limit(DELETED_AT_ONCE)
            .into_query();
        let named = Expr::tuple(columns.map(Expr::col)).in_subquery(some);
        let gone = Entity::delete_many().filter(named).exec(db).await?;
        if gone.rows_affected < DELETED_AT_ONCE {
            return Ok(());
        }
    }
}

/// Finds the rows whose bytes are not those that were stored.
pub(in crate::store) async fn check(db: &Db, found: &mut Vec<UnreadableRow>) -> Result<(), DbErr> {
    rows::check::<Entity, _>(db, found, |row| read(&row)).await
}

/// `None` where no small results are to be stored.
fn row(record: &TaskRecord) -> Option<Result<ActiveModel, DbErr>> {
    let signed = record.receipt.as_ref().filter(|signed| !signed.contents.is_empty())?;
    if record.state != TaskState::Done {
        return None;
    }
    let TaskRef { run, stage, index } = record.task;
    Some(pack(&signed.contents).map(|contents| ActiveModel {
        run: Set(run.uuid()),
        stage: Set(stage_number(stage)),
        idx: Set(index.into()),
        contents: Set(contents),
    }))
}

fn pack(contents: &Contents) -> Result<Vec<u8>, DbErr> {
    let each = |content: &Content| (content.digest, content.bytes.clone());
    document::pack(&contents.iter().map(each).collect::<Vec<_>>())
}

/// What a row holds, each result compared with the digest that was stored with it.
fn read(row: &Model) -> Result<Contents, DbErr> {
    let unreadable = |error| corrupt_by("small result", &error);
    let stored: Vec<(Digest, Vec<u8>)> = document::unpack(&row.contents).map_err(unreadable)?;
    let mut contents = Contents::default();
    for (digest, bytes) in stored {
        contents.add(bytes).map_err(|error| unreadable(DbErr::Type(error.to_string())))?;
        if contents.find(digest).is_none() {
            return Err(corrupt("small result: its bytes are not those that were stored"));
        }
    }
    Ok(contents)
}
