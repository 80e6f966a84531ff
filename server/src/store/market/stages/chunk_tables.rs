//! The chunk tables of runs: what their data blocks have found, and cut where.

use common::data::chunk_table::ChunkTable;
use common::ids::RunId;
use common::plan::BlockId;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;

use crate::store::market::runs;
use crate::store::query::document;
use crate::store::query::rows;
use crate::store::query::rows::UnreadableRow;
use crate::store::{Db, corrupt, corrupt_by};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "chunk_tables")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub run: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub block: i32,
    /// Postcard of a `ChunkTable`.
    pub chunks: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub(in crate::store) async fn insert(
    db: &impl ConnectionTrait,
    run: RunId,
    block: BlockId,
    table: &ChunkTable,
) -> Result<(), DbErr> {
    let chunks = document::pack(table)?;
    let row = ActiveModel {
        run: Set(run.uuid()),
        block: Set(block.number().into()),
        chunks: Set(chunks),
    };
    Entity::insert(row)
        .on_conflict(
            OnConflict::columns([Column::Run, Column::Block])
                .update_column(Column::Chunks)
                .to_owned(),
        )
        .exec_without_returning(db)
        .await?;
    Ok(())
}

/// The tables of the runs that have not ended, each read by itself.
pub(in crate::store) async fn unfinished(
    db: &impl ConnectionTrait,
) -> Result<Vec<Result<(RunId, BlockId, ChunkTable), UnreadableRow>>, DbErr> {
    let open = Entity::find().filter(Column::Run.in_subquery(runs::unfinished_ids()));
    rows::each(db, open, |row| read(&row)).await
}

/// The tables of a run.
pub(in crate::store) async fn of_run(
    db: &impl ConnectionTrait,
    run: RunId,
) -> Result<Vec<(BlockId, ChunkTable)>, DbErr> {
    let rows = Entity::find().filter(Column::Run.eq(run.uuid())).all(db).await?;
    rows.iter().map(|row| read(row).map(|(_, block, table)| (block, table))).collect()
}

/// Finds the tables that cannot be read.
pub(in crate::store) async fn check(db: &Db, found: &mut Vec<UnreadableRow>) -> Result<(), DbErr> {
    rows::check::<Entity, _>(db, found, |row| read(&row)).await
}

fn read(row: &Model) -> Result<(RunId, BlockId, ChunkTable), DbErr> {
    let table = document::unpack(&row.chunks).map_err(|error| corrupt_by("chunk table", &error))?;
    let block = u16::try_from(row.block).map_err(|_| corrupt("block"))?;
    Ok((RunId::new(row.run), BlockId::new(block), table))
}
