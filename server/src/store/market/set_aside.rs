//! Runs whose rows cannot be read: found by their id, and ended column by column.

use common::ids::{JobId, RunId, WorkspaceId};
use common::market::{SetAside, Unreadable};
use common::money::credits::Credits;
use common::run::{RunState, Times};
use sea_orm::entity::prelude::*;
use sea_orm::{QueryResult, QueryTrait as _};

use super::runs::{Column, Entity};
use super::{stages, tasks};
use crate::store::money::{ledger, statement};
use crate::store::query::document;
use crate::store::{micros, storable};

/// What is known of a run without reading its row as a whole.
pub(in crate::store) async fn find(
    db: &impl ConnectionTrait,
    run: RunId,
) -> Result<Unreadable, DbErr> {
    let books = ledger::of_run(db, run).await?;
    let row = row(db, run).await?;
    let uuid = |column: &str| row.as_ref()?.try_get::<Uuid>("", column).ok();
    Ok(Unreadable {
        run,
        workspace: books.owner.or_else(|| uuid("workspace").map(WorkspaceId::new)),
        job: uuid("job").map(JobId::new),
        held: books.held,
        captured: books.captured,
        billed: statement::billed(db, run).await?,
    })
}

/// Ends runs that are set aside. What can be read of them stays; their plans stay as they are, for
/// whoever looks into it.
pub(in crate::store) async fn put(
    db: &impl ConnectionTrait,
    ended: &[SetAside],
) -> Result<(), DbErr> {
    for SetAside { run, captured, cause, at } in ended {
        let row = row(db, *run).await?;
        let text = |column: &str| row.as_ref()?.try_get::<String>("", column).ok();
        let count = |column: &str| {
            let number = row.as_ref()?.try_get::<i64>("", column).ok()?;
            u32::try_from(number).ok().map(i64::from)
        };
        let times = text("times").and_then(|times| document::read(&times).ok());
        let mut times: Times = times.unwrap_or_default();
        times.states.insert(RunState::Failed, *at);
        Entity::update_many()
            .col_expr(Column::State, Expr::value(RunState::Failed.as_str()))
            .col_expr(Column::Times, Expr::value(document::write(&times)?))
            .col_expr(Column::Total, Expr::value(count("total")))
            .col_expr(Column::NextStage, Expr::value(count("next_stage").unwrap_or(0)))
            .col_expr(Column::Done, Expr::value(count("done").unwrap_or(0)))
            .col_expr(Column::Held, Expr::value(Credits::ZERO.units()))
            .col_expr(Column::Captured, Expr::value(captured.units()))
            .col_expr(Column::Error, Expr::value(storable(&cause.message)))
            .col_expr(Column::Cause, Expr::value(cause.kind.as_str()))
            .col_expr(Column::EndedUs, Expr::value(micros(*at)))
            .col_expr(Column::Billed, Expr::value(captured.units()))
            .filter(Column::Id.eq(run.uuid()))
            .exec(db)
            .await?;
        tasks::end_open(db, *run, *at).await?;
        stages::end_open(db, *run, *at).await?;
        tracing::error!(%run, "a run that cannot be read is set aside as failed");
    }
    Ok(())
}

async fn row(db: &impl ConnectionTrait, run: RunId) -> Result<Option<QueryResult>, DbErr> {
    let one = Entity::find_by_id(run.uuid());
    db.query_one_raw(one.build(db.get_database_backend())).await
}
