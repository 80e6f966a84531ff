//! Keeps connections out of the pools that are no longer good: of SQLite those with an open
//! transaction, of PostgreSQL those that give no answer.

use std::io;
use std::time::Duration;

use sea_orm::sqlx::postgres::PgPoolOptions;
use sea_orm::sqlx::sqlite::SqlitePoolOptions;
use sea_orm::sqlx::{Connection as _, Executor as _};
use tokio::time::timeout;

/// How long a connection may take to answer when it is given back.
const ANSWER: Duration = Duration::from_secs(3);
/// Ends a transaction that was left open by a lost connection, before the coordinator gives up
/// waiting for the rows that it has locked.
const IDLE_IN_TRANSACTION: &str = "SET idle_in_transaction_session_timeout = '30s'";

/// Closes a connection that gives no answer when it is given back: the pool would wait for one as
/// long as TCP does, and have a connection less meanwhile. PostgreSQL ends the transaction.
pub(in crate::store) fn close_silent(pool: PgPoolOptions) -> PgPoolOptions {
    pool.after_connect(|connection, _| {
        Box::pin(async move { connection.execute(IDLE_IN_TRANSACTION).await.map(drop) })
    })
    .after_release(|connection, _| {
        Box::pin(async move {
            let answered = timeout(ANSWER, connection.ping()).await;
            answered.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            Ok(true)
        })
    })
}

/// Closes a connection that still counts as inside a transaction when it is given back.
///
/// A full disk or an IO error makes SQLite end a transaction by itself. The rollback that follows
/// fails then, and sqlx counts the transaction as open forever: everything that is done on this
/// connection afterwards is part of a transaction that nobody commits, and it keeps the write lock.
pub(in crate::store) fn close_in_transaction(pool: SqlitePoolOptions) -> SqlitePoolOptions {
    pool.after_release(|connection, _| {
        Box::pin(async move {
            if !connection.is_in_transaction() {
                return Ok(true);
            }
            // The rollback of a dropped transaction is only queued: this waits for it.
            connection.ping().await?;
            let inside = connection.is_in_transaction();
            if inside {
                tracing::warn!("a connection is closed: its transaction could not be rolled back");
            }
            Ok(!inside)
        })
    })
}

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

    use crate::store::{Db, begin, open};

    async fn count(db: &Db) -> i64 {
        let sql = "SELECT COUNT(*) AS n FROM kept".to_owned();
        let query = Statement::from_string(DbBackend::Sqlite, sql);
        db.query_one_raw(query).await.unwrap().unwrap().try_get("", "n").unwrap()
    }

    #[tokio::test]
    async fn full_disk_leaves_no_connection_inside_a_transaction() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("db.sqlite").display());
        let db = open(&url).await.unwrap();
        db.execute_unprepared("CREATE TABLE kept (x BLOB)").await.unwrap();
        let other = open(&url).await.unwrap();

        let mut kept = 0;
        for _ in 0..3 {
            // The disk has no room for one more page, as this connection sees it.
            let tx = begin(&db).await.unwrap();
            tx.execute_unprepared("PRAGMA max_page_count = 1").await.unwrap();
            let large = "INSERT INTO kept VALUES (zeroblob(1000000))";
            let full = tx.execute_unprepared(large).await.unwrap_err();
            assert!(full.to_string().contains("full"), "{full}");
            drop(tx);

            for _ in 0..10 {
                // What is acknowledged is seen by everybody, and locks nobody out.
                db.execute_unprepared("INSERT INTO kept VALUES (1)").await.unwrap();
                let tx = begin(&db).await.unwrap();
                tx.execute_unprepared("INSERT INTO kept VALUES (zeroblob(5000))").await.unwrap();
                tx.commit().await.unwrap();
                kept += 2;
                assert_eq!(count(&other).await, kept);
            }
            other.execute_unprepared("INSERT INTO kept VALUES (2)").await.unwrap();
            kept += 1;
        }
    }
}
