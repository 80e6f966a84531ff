//! The chunk tables of runs: what is cut where.

use common::chunks::ChunkTable;
use common::ids::RunId;
use common::market::TableKind;
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue::Set, sea_query::OnConflict};

use super::corrupt;

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
    let chunks = postcard::to_stdvec(table).map_err(|_| corrupt("chunk table"))?;
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

/// The tables of these runs.
pub(super) async fn find(
    db: &impl ConnectionTrait,
    runs: &[RunId],
) -> Result<Vec<(RunId, TableKind, ChunkTable)>, DbErr> {
    let rows =
        Entity::find().filter(Column::Run.is_in(runs.iter().map(|run| run.uuid()))).all(db).await?;
    rows.into_iter()
        .map(|row| {
            let table = postcard::from_bytes(&row.chunks).map_err(|_| corrupt("chunk table"))?;
            let kind = if row.kind == 0 { TableKind::Source } else { TableKind::Chunks };
            Ok((RunId::new(row.run), kind, table))
        })
        .collect()
}

const fn number(kind: TableKind) -> i16 {
    match kind {
        TableKind::Source => 0,
        TableKind::Chunks => 1,
    }
}
