//! The stages of runs: which blocks of their plans have been opened, and how far each is.

pub(in crate::store) mod chunk_tables;
pub mod resolutions;
pub mod values;

use chrono::{DateTime, Utc};
use common::ids::RunId;
use common::market::{StageEnd, StageOutcome, StageRecord};
use common::plan::BlockId;
use common::run::task::StageNo;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{QueryOrder, QuerySelect};

use super::runs;
use crate::store::query::document;
use crate::store::query::insert::RowWriter;
use crate::store::query::rows;
use crate::store::query::rows::UnreadableRow;
use crate::store::{Db, corrupt, corrupt_by, micros, stage_no, stage_number, time};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "stages")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub run: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub no: i32,
    pub block: i32,
    pub parent: Option<i32>,
    pub item: Option<i64>,
    /// Postcard of a `Cursor`.
    pub cursor: Vec<u8>,
    pub opened_us: i64,
    /// How many values its run had by then.
    pub seen: i64,
    pub ended_us: Option<i64>,
    /// It has ended because its run has.
    pub cut_off: bool,
    /// It has ended because its condition was false.
    pub skipped: bool,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Stores stages as they stand now.
pub(in crate::store) async fn put(
    db: &impl ConnectionTrait,
    stages: &[StageRecord],
) -> Result<(), DbErr> {
    static NEWEST: RowWriter<Entity> = RowWriter::on_conflict(|| {
        OnConflict::columns([Column::Run, Column::No])
            .update_columns([
                Column::Cursor,
                Column::Seen,
                Column::EndedUs,
                Column::CutOff,
                Column::Skipped,
            ])
            .to_owned()
    });
    NEWEST.write(db, stages.iter().map(row).collect::<Result<Vec<_>, _>>()?).await
}

/// The stages of a run after this one, at most `limit`, in the order of their numbers.
pub async fn find(
    db: &impl ConnectionTrait,
    run: RunId,
    after: Option<StageNo>,
    limit: u64,
) -> Result<Vec<StageRecord>, DbErr> {
    let of_run = Entity::find().filter(Column::Run.eq(run.uuid()));
    let stages = of_run
        .filter(Column::No.gt(after.map_or(-1, stage_number)))
        .order_by_asc(Column::No)
        .limit(limit);
    stages.all(db).await?.iter().map(read).collect()
}

/// A stage of a run.
pub async fn one(
    db: &impl ConnectionTrait,
    run: RunId,
    no: StageNo,
) -> Result<Option<StageRecord>, DbErr> {
    let found = Entity::find_by_id((run.uuid(), stage_number(no))).one(db).await?;
    found.as_ref().map(read).transpose()
}

/// The open stages of the runs that have not ended, each read by itself.
pub(in crate::store) async fn unfinished(
    db: &impl ConnectionTrait,
) -> Result<Vec<Result<StageRecord, UnreadableRow>>, DbErr> {
    let open = Entity::find()
        .filter(Column::Run.in_subquery(runs::unfinished_ids()))
        .filter(Column::EndedUs.is_null());
    rows::each(db, open, |row| read(&row)).await
}

/// The stages of a run that were open when it ended.
pub(in crate::store) async fn cut_off(
    db: &impl ConnectionTrait,
    run: RunId,
) -> Result<Vec<StageRecord>, DbErr> {
    let stages = Entity::find().filter(Column::Run.eq(run.uuid())).filter(Column::CutOff.eq(true));
    stages.all(db).await?.iter().map(read).collect()
}

/// Ends the open stages of a run that is set aside.
pub(in crate::store) async fn end_open(
    db: &impl ConnectionTrait,
    run: RunId,
    at: DateTime<Utc>,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::EndedUs, Expr::value(micros(at)))
        .col_expr(Column::CutOff, Expr::value(true))
        .filter(Column::Run.eq(run.uuid()))
        .filter(Column::EndedUs.is_null())
        .exec(db)
        .await?;
    Ok(())
}

/// Finds the stages that cannot be read.
pub(in crate::store) async fn check(db: &Db, found: &mut Vec<UnreadableRow>) -> Result<(), DbErr> {
    rows::check::<Entity, _>(db, found, |row| read(&row).map(drop)).await
}

fn row(stage: &StageRecord) -> Result<ActiveModel, DbErr> {
    let how = stage.ended.map(|ended| ended.how);
    Ok(ActiveModel {
        run: Set(stage.run.uuid()),
        no: Set(stage_number(stage.no)),
        block: Set(stage.block.number().into()),
        parent: Set(stage.parent.map(stage_number)),
        item: Set(stage.item.map(i64::from)),
        cursor: Set(document::pack(&stage.cursor)?),
        opened_us: Set(micros(stage.opened_at)),
        ended_us: Set(stage.ended.map(|ended| micros(ended.at))),
        seen: Set(stage.seen.into()),
        cut_off: Set(how == Some(StageOutcome::CutOff)),
        skipped: Set(how == Some(StageOutcome::Skipped)),
    })
}

fn read(row: &Model) -> Result<StageRecord, DbErr> {
    let block = u16::try_from(row.block).map_err(|_| corrupt("block"))?;
    let item = row.item.map(u32::try_from).transpose().map_err(|_| corrupt("element"))?;
    let how = match (row.cut_off, row.skipped) {
        (true, _) => StageOutcome::CutOff,
        (false, true) => StageOutcome::Skipped,
        (false, false) => StageOutcome::Done,
    };
    Ok(StageRecord {
        run: RunId::new(row.run),
        no: stage_no(row.no)?,
        block: BlockId::new(block),
        parent: row.parent.map(stage_no).transpose()?,
        item,
        cursor: document::unpack(&row.cursor).map_err(|error| corrupt_by("cursor", &error))?,
        opened_at: time(row.opened_us),
        seen: u32::try_from(row.seen).map_err(|_| corrupt("number of values"))?,
        ended: row.ended_us.map(|at| StageEnd { at: time(at), how }),
    })
}
