//! Checks the database while the server runs, once a day: pages and books.

use std::time::Duration;

use common::error_chain::chain;
use tokio_util::sync::CancellationToken;

use crate::store::Db;
use crate::store::database::integrity;
use crate::store::money::reconciliation::reconcile;

const PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// Checks the books at once and both each day, until told to stop. The pages have been checked
/// when the database was opened.
pub async fn run(db: Db, stop: CancellationToken) {
    let checks = async {
        let mut period = tokio::time::interval(PERIOD);
        period.tick().await;
        loop {
            check_books(&db).await;
            period.tick().await;
            check_pages(&db).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = checks => {}
    }
}

async fn check_pages(db: &Db) {
    match integrity::problems(db).await {
        Ok(problems) => {
            for problem in problems {
                tracing::error!(
                    error = problem,
                    "the database is damaged: docs/operations/backup.md says what to do"
                );
            }
        }
        Err(error) => {
            tracing::warn!(error = %chain(&error), "the database cannot be checked");
        }
    }
}

async fn check_books(db: &Db) {
    match reconcile(db).await {
        Ok(found) => {
            for (claim, rows) in found.checks.iter().filter(|(_, rows)| *rows > 0) {
                tracing::error!(
                    claim,
                    rows,
                    "the books do not add up: docs/operations/backup.md says what to do"
                );
            }
        }
        Err(error) => {
            tracing::warn!(error = %chain(&error), "the books cannot be checked");
        }
    }
}
