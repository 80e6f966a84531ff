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
use crate::store::query::insert::RowWriter;
use crate::store::query::rows;
use crate::store::query::rows::UnreadableRow;
use crate::store::{Db, corrupt, corrupt_by, stage_number};

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
    static NEWEST: RowWriter<Entity> = RowWriter::on_conflict(|| {
        OnConflict::columns([Column::Run, Column::Stage, Column::Idx])
            .update_column(Column::Contents)
            .to_owned()
    });
    NEWEST.write(db, tasks.iter().filter_map(row).collect::<Result<Vec<_>, _>>()?).await
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

/// What a row holds, compared with the digests that were stored with it.
fn read(row: &Model) -> Result<Contents, DbErr> {
    let unreadable = |error| corrupt_by("small result", &error);
    let stored: Vec<(Digest, Vec<u8>)> = document::unpack(&row.contents).map_err(unreadable)?;
    let mut contents = Contents::default();
    for (_, bytes) in stored {
        contents.add(bytes).map_err(|error| unreadable(DbErr::Type(error.to_string())))?;
    }
    // Its digests have been computed again.
    if pack(&contents)? == row.contents {
        Ok(contents)
    } else {
        Err(corrupt("small result: its bytes are not those that were stored"))
    }
}

#[cfg(test)]
mod tests {
    use common::ids::WorkspaceId;
    use common::testing::PROCESS;

    use super::*;
    use crate::store::market::commit::tests::{half_done, process};
    use crate::store::testing::databases;

    #[tokio::test]
    async fn small_results_are_stored_with_their_task_and_deleted_with_their_run() {
        for fresh in databases().await {
            let db = &fresh.db;
            let (run, other) = (RunId::new(Uuid::now_v7()), RunId::new(Uuid::now_v7()));
            half_done(db, WorkspaceId::new(Uuid::now_v7()), run).await;
            let (done, leased) = (process(run, 0).task, process(run, 1).task);

            let stored = find(db, done).await.unwrap();
            assert_eq!(stored.find(Digest::of(b"out")), Some(&b"out"[..]), "{}", fresh.name);
            assert!(find(db, leased).await.unwrap().is_empty());
            let all = of_tasks(db, run, PROCESS, 0..=9).await.unwrap();
            assert_eq!(all, BTreeMap::from([(0, stored.clone())]));
            assert!(of_tasks(db, run, PROCESS, 1..=9).await.unwrap().is_empty());

            delete(db, other).await.unwrap();
            assert_eq!(find(db, done).await.unwrap(), stored);
            delete(db, run).await.unwrap();
            assert!(find(db, done).await.unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn small_result_that_has_rotted_is_found_and_never_given() {
        for fresh in databases().await {
            let (db, run) = (&fresh.db, RunId::new(Uuid::now_v7()));
            half_done(db, WorkspaceId::new(Uuid::now_v7()), run).await;
            let mut found = Vec::new();
            check(db, &mut found).await.unwrap();
            assert_eq!(found, []);
            let row = Entity::find().one(db).await.unwrap().unwrap();
            for at in [0, 1, row.contents.len() - 1] {
                let mut rotten = row.contents.clone();
                rotten[at] ^= 1;
                let rot = Entity::update_many().col_expr(Column::Contents, Expr::value(rotten));
                rot.exec(db).await.unwrap();
                let mut found = Vec::new();

                check(db, &mut found).await.unwrap();

                assert_eq!(found.len(), 1, "{} {at}", fresh.name);
                assert_eq!(found[0].table, "small_results");
                assert!(found[0].why.contains("small result"), "{}", found[0].why);
                assert!(find(db, process(run, 0).task).await.is_err());
            }
        }
    }
}
