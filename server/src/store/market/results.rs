//! The files of a run's final output.

use common::digest::Digest;
use common::ids::RunId;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{QueryOrder, QuerySelect};

use crate::store::query::insert::RowWriter;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "results")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub run: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub size: i64,
    pub blob: Option<String>,
    pub digest: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// One file of a run's final output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultView {
    pub name: String,
    pub size: u64,
    pub digest: Option<Digest>,
    /// Its key in Fanfold's bucket; `None` where it was delivered elsewhere.
    pub key: Option<String>,
}

/// A run's output files by name, at most `limit` of those after `after`.
pub async fn find(
    db: &impl ConnectionTrait,
    run: RunId,
    after: Option<&str>,
    limit: u64,
) -> Result<Vec<ResultView>, DbErr> {
    let mut query = Entity::find().filter(Column::Run.eq(run.uuid()));
    if let Some(after) = after {
        query = query.filter(Column::Name.gt(after));
    }
    let rows = query.order_by_asc(Column::Name).limit(limit).all(db).await?;
    Ok(rows
        .into_iter()
        .map(|row| ResultView {
            name: row.name,
            size: u64::try_from(row.size).unwrap_or(0),
            key: row.blob,
            digest: row.digest.and_then(|digest| digest.parse().ok()),
        })
        .collect())
}

/// Stores files; one that is there already is replaced.
pub async fn insert(
    db: &impl ConnectionTrait,
    run: RunId,
    files: &[ResultView],
) -> Result<(), DbErr> {
    static NEWEST: RowWriter<Entity> = RowWriter::on_conflict(|| {
        OnConflict::columns([Column::Run, Column::Name])
            .update_columns([Column::Size, Column::Blob, Column::Digest])
            .to_owned()
    });
    let rows = files.iter().map(|file| ActiveModel {
        run: Set(run.uuid()),
        name: Set(file.name.clone()),
        size: Set(i64::try_from(file.size).unwrap_or(i64::MAX)),
        blob: Set(file.key.clone()),
        digest: Set(file.digest.map(|digest| digest.to_string())),
    });
    NEWEST.write(db, rows).await
}
