//! Group commit: all that a batch of events changed, in one transaction.

use common::ids::JobId;
use common::market::Changes;
use sea_orm::DbErr;

use super::{Db, begin, chunk_tables, grants, ledger, logs, runs, tasks, wallet};

/// Stores the changes, and the keys of the grants among them, all or nothing.
pub async fn commit(db: &Db, changes: &Changes, granted: &[String]) -> Result<(), DbErr> {
    let tx = begin(db).await?;
    runs::put(&tx, &changes.runs, &changes.new_runs).await?;
    for (run, kind, table) in &changes.tables {
        chunk_tables::insert(&tx, *run, *kind, table).await?;
    }
    tasks::put(&tx, &changes.tasks).await?;
    ledger::insert_transfers(&tx, &changes.transfers).await?;
    ledger::put_balances(&tx, &changes.balances).await?;
    let job = |run| changes.runs.iter().find(|record| record.id == run).map(|r| r.spec.job);
    let lines: Vec<(&_, Option<JobId>)> =
        changes.lines.iter().map(|line| (line, line.run.and_then(job))).collect();
    wallet::insert_lines(&tx, &lines).await?;
    logs::insert(&tx, &changes.logs).await?;
    for key in granted {
        grants::insert(&tx, key).await?;
    }
    tx.commit().await
}
