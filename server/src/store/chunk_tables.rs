//! The chunk tables of runs: what is cut where.

use common::chunks::ChunkTable;
use common::ids::RunId;
use common::market::TableKind;
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue::Set, sea_query::OnConflict};

use super::rows::{self, UnreadableRow};
use super::{Db, corrupt_by, document, runs};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "chunk_tables")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub run: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: i16,
    /// Postcard of a `ChunkTable`.
    pub chunks: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub(super) async fn insert(
    db: &impl ConnectionTrait,
    run: RunId,
    kind: TableKind,
    table: &ChunkTable,
) -> Result<(), DbErr> {
    let chunks = document::pack(table)?;
    let row = ActiveModel { run: Set(run.uuid()), kind: Set(number(kind)), chunks: Set(chunks) };
    Entity::insert(row)
        .on_conflict(
            OnConflict::columns([Column::Run, Column::Kind])
                .update_column(Column::Chunks)
                .to_owned(),
        )
        .exec_without_returning(db)
        .await?;
    Ok(())
}

/// The tables of the runs that have not ended, each read by itself.
pub(super) async fn unfinished(
    db: &impl ConnectionTrait,
) -> Result<Vec<Result<(RunId, TableKind, ChunkTable), UnreadableRow>>, DbErr> {
    let open = Entity::find().filter(Column::Run.in_subquery(runs::unfinished_ids()));
    rows::each(db, open, |row| read(&row)).await
}

/// The chunks of a run, once it has been cut.
pub(super) async fn chunks(
    db: &impl ConnectionTrait,
    run: RunId,
) -> Result<Option<ChunkTable>, DbErr> {
    let row = Entity::find_by_id((run.uuid(), number(TableKind::Chunks))).one(db).await?;
    Ok(row.as_ref().map(read).transpose()?.map(|(_, _, table)| table))
}

/// Finds the tables that cannot be read.
pub(super) async fn check(db: &Db, found: &mut Vec<UnreadableRow>) -> Result<(), DbErr> {
    rows::check::<Entity, _>(db, found, |row| read(&row)).await
}

fn read(row: &Model) -> Result<(RunId, TableKind, ChunkTable), DbErr> {
    let table = document::unpack(&row.chunks).map_err(|error| corrupt_by("chunk table", &error))?;
    let kind = if row.kind == 0 { TableKind::Source } else { TableKind::Chunks };
    Ok((RunId::new(row.run), kind, table))
}

const fn number(kind: TableKind) -> i16 {
    match kind {
        TableKind::Source => 0,
        TableKind::Chunks => 1,
    }
}
