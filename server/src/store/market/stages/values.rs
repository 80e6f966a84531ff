//! The values that blocks of runs have given to those after them.

use common::ids::RunId;
use common::market::ValueRecord;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use crate::store::market::runs;
use crate::store::market::runs::purge::{self as old_runs, Ended, RUNS_PURGED};
use crate::store::query::insert::RowWriter;
use crate::store::query::rows;
use crate::store::query::rows::UnreadableRow;
use crate::store::{Db, corrupt, stage_no, stage_number};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "run_values")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub run: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    pub name: String,
    pub within: Option<i32>,
    pub item: Option<i64>,
    pub value: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub(in crate::store) async fn insert(
    db: &impl ConnectionTrait,
    values: &[ValueRecord],
) -> Result<(), DbErr> {
    static NEW: RowWriter<Entity> = RowWriter::new();
    NEW.write(db, values.iter().map(row)).await
}

/// Those of the runs that have not ended, each read by itself.
pub(in crate::store) async fn unfinished(
    db: &impl ConnectionTrait,
) -> Result<Vec<Result<ValueRecord, UnreadableRow>>, DbErr> {
    let open = Entity::find().filter(Column::Run.in_subquery(runs::unfinished_ids()));
    rows::each(db, open, |row| read(&row)).await
}

/// Those of a run.
pub(in crate::store) async fn of_run(
    db: &impl ConnectionTrait,
    run: RunId,
) -> Result<Vec<ValueRecord>, DbErr> {
    let rows = Entity::find().filter(Column::Run.eq(run.uuid())).all(db).await?;
    rows.iter().map(read).collect()
}

/// Deletes those of some runs that ended some time ago; false where there are none left.
pub async fn purge(db: &impl ConnectionTrait, ended: Ended) -> Result<bool, DbErr> {
    let runs = old_runs::with_rows("run_values", ended, RUNS_PURGED);
    let gone = Entity::delete_many().filter(Column::Run.in_subquery(runs)).exec(db).await?;
    Ok(gone.rows_affected > 0)
}

/// Finds those that cannot be read.
pub(in crate::store) async fn check(db: &Db, found: &mut Vec<UnreadableRow>) -> Result<(), DbErr> {
    rows::check::<Entity, _>(db, found, |row| read(&row).map(drop)).await
}

fn row(record: &ValueRecord) -> ActiveModel {
    ActiveModel {
        run: Set(record.run.uuid()),
        seq: Set(record.seq.into()),
        name: Set(record.name.to_string()),
        within: Set(record.within.map(stage_number)),
        item: Set(record.item.map(i64::from)),
        value: Set(record.value.as_bytes().to_vec()),
    }
}

fn read(row: &Model) -> Result<ValueRecord, DbErr> {
    let value = str::from_utf8(&row.value).map_err(|_| corrupt("value"))?;
    Ok(ValueRecord {
        run: RunId::new(row.run),
        seq: u32::try_from(row.seq).map_err(|_| corrupt("number of a value"))?,
        name: row.name.parse().map_err(|_| corrupt("name of a value"))?,
        within: row.within.map(stage_no).transpose()?,
        item: row.item.map(u32::try_from).transpose().map_err(|_| corrupt("element"))?,
        value: value.into(),
    })
}
