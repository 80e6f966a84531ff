//! What the expressions of stages have given.

use std::sync::Arc;

use common::ids::RunId;
use common::market::Resolution;
use common::run::task::StageNo;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use crate::store::market::runs;
use crate::store::market::runs::purge::{self as old_runs, Ended, RUNS_PURGED};
use crate::store::query::document;
use crate::store::query::insert::RowWriter;
use crate::store::query::rows;
use crate::store::query::rows::UnreadableRow;
use crate::store::{Db, corrupt_by, stage_no, stage_number};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "resolutions")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub run: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub stage: i32,
    /// JSON of a `Resolution`.
    pub body: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub(in crate::store) async fn insert(
    db: &impl ConnectionTrait,
    resolutions: &[(RunId, StageNo, Arc<Resolution>)],
) -> Result<(), DbErr> {
    static NEW: RowWriter<Entity> = RowWriter::new();
    NEW.write(db, resolutions.iter().map(row).collect::<Result<Vec<_>, _>>()?).await
}

/// Those of the runs that have not ended, each read by itself.
pub(in crate::store) async fn unfinished(
    db: &impl ConnectionTrait,
) -> Result<Vec<Result<(RunId, StageNo, Resolution), UnreadableRow>>, DbErr> {
    let open = Entity::find().filter(Column::Run.in_subquery(runs::unfinished_ids()));
    rows::each(db, open, |row| read(&row)).await
}

/// Those of a run.
pub(in crate::store) async fn of_run(
    db: &impl ConnectionTrait,
    run: RunId,
) -> Result<Vec<(StageNo, Resolution)>, DbErr> {
    let rows = Entity::find().filter(Column::Run.eq(run.uuid())).all(db).await?;
    rows.iter().map(|row| read(row).map(|(_, no, resolution)| (no, resolution))).collect()
}

/// Deletes those of some runs that ended some time ago; false where there are none left.
pub async fn purge(db: &impl ConnectionTrait, ended: Ended) -> Result<bool, DbErr> {
    let runs = old_runs::with_rows("resolutions", ended, RUNS_PURGED);
    let gone = Entity::delete_many().filter(Column::Run.in_subquery(runs)).exec(db).await?;
    Ok(gone.rows_affected > 0)
}

/// Finds those that cannot be read.
pub(in crate::store) async fn check(db: &Db, found: &mut Vec<UnreadableRow>) -> Result<(), DbErr> {
    rows::check::<Entity, _>(db, found, |row| read(&row).map(drop)).await
}

fn row(resolution: &(RunId, StageNo, Arc<Resolution>)) -> Result<ActiveModel, DbErr> {
    let (run, no, resolution) = resolution;
    Ok(ActiveModel {
        run: Set(run.uuid()),
        stage: Set(stage_number(*no)),
        body: Set(document::unproven(&**resolution)?),
    })
}

fn read(row: &Model) -> Result<(RunId, StageNo, Resolution), DbErr> {
    let body = document::read(&row.body).map_err(|error| corrupt_by("resolution", &error))?;
    Ok((RunId::new(row.run), stage_no(row.stage)?, body))
}
