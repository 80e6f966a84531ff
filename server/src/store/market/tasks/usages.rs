//! What attempts used by their receipts, whether a task ended with them or went on.

use chrono::{DateTime, Utc};
use common::compute::resources::Usage;
use common::ids::RunId;
use common::protocol::ReceiptHead;
use common::run::task::{Lease, TaskRef};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{FromQueryResult, QueryOrder, QuerySelect};

use super::attempts;
use crate::store::market::tasks;
use crate::store::{corrupt, micros, stage_no, time};

/// What an attempt used that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageView {
    pub lease: Lease,
    pub ended_at: DateTime<Utc>,
    pub usage: Usage,
}

#[derive(Debug, FromQueryResult)]
struct Row {
    run: Uuid,
    stage: i32,
    idx: i64,
    attempt: i32,
    ended_us: Option<i64>,
    head: Option<Vec<u8>>,
}

/// The attempts of some runs that ended in a span of time with a receipt, the oldest first: at
/// most this many of those after which their tasks went on, and as many of the others.
pub async fn find(
    db: &impl ConnectionTrait,
    runs: &[RunId],
    times: (DateTime<Utc>, DateTime<Utc>),
    limit: u64,
) -> Result<Vec<UsageView>, DbErr> {
    let mut found = of::<tasks::Entity>(db, runs, times, limit).await?;
    found.extend(of::<attempts::Entity>(db, runs, times, limit).await?);
    Ok(found)
}

/// Both tables have these columns.
async fn of<E: EntityTrait>(
    db: &impl ConnectionTrait,
    runs: &[RunId],
    (from, until): (DateTime<Utc>, DateTime<Utc>),
    limit: u64,
) -> Result<Vec<UsageView>, DbErr> {
    let mut select = E::find().select_only();
    for column in ["run", "stage", "idx", "attempt", "ended_us"] {
        select = select.expr_as(Expr::col(column), column);
    }
    let head = Expr::cust(format!("substr(receipt, 1, {})", ReceiptHead::BYTES_MAX));
    let rows = select
        .expr_as(head, "head")
        .filter(Expr::col("run").is_in(runs.iter().map(|run| run.uuid())))
        .filter(Expr::col("ended_us").gte(micros(from)))
        .filter(Expr::col("ended_us").lt(micros(until)))
        .filter(Expr::col("receipt").is_not_null())
        .order_by_asc(Expr::col("ended_us"))
        .limit(limit)
        .into_model::<Row>()
        .all(db)
        .await?;
    rows.into_iter().filter_map(|row| row.view().transpose()).collect()
}

impl Row {
    fn view(self) -> Result<Option<UsageView>, DbErr> {
        let head = self.head.as_deref().and_then(ReceiptHead::read);
        let Some((head, ended_us)) = head.zip(self.ended_us) else { return Ok(None) };
        let index = u32::try_from(self.idx).map_err(|_| corrupt("task index"))?;
        let task = TaskRef { run: RunId::new(self.run), stage: stage_no(self.stage)?, index };
        let lease = Lease { task, attempt: u32::try_from(self.attempt).unwrap_or(0) };
        Ok(Some(UsageView { lease, ended_at: time(ended_us), usage: head.usage }))
    }
}
