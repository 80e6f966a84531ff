//! Counts the statements that have written what is used again (`store::known`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sea_orm::DbErr;

/// The tables whose rows are used again, and those that their rows go with.
const TABLES: [&str; 8] = [
    "api_keys",
    "members",
    "users",
    "workspaces",
    "ended_tokens",
    "templates",
    "packages",
    "imports",
];

/// How many such statements have ended; clones share it.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Epoch(Arc<AtomicU64>);

/// Ends the epoch when it is dropped.
struct Ends(Epoch);

impl Epoch {
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub fn end(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// Carries such a statement, or the commit of one, to its end, even where its caller goes away
    /// meanwhile: the database would do it all the same, and nobody would know when.
    pub async fn carry<T: Send + 'static>(
        &self,
        statement: impl Future<Output = Result<T, DbErr>> + Send + 'static,
    ) -> Result<T, DbErr> {
        let ends = Ends(self.clone());
        let carried = tokio::spawn(async move {
            let done = statement.await;
            drop(ends);
            done
        });
        carried.await.unwrap_or_else(|error| Err(DbErr::Custom(error.to_string())))
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Whether a statement writes one of the tables, or may.
pub(super) fn writes(sql: &str) -> bool {
    if sql.starts_with("SELECT") {
        return false;
    }
    // An insert, update or delete names its table first.
    match sql.split('"').nth(1) {
        Some(table) => TABLES.contains(&table),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use sea_orm::{ConnectionTrait as _, Statement};

    use super::*;
    use crate::store::testing::databases;
    use crate::store::{Db, begin};

    const WRITE: &str = "UPDATE \"members\" SET role = 'none'";

    fn statement(db: &Db, sql: &str) -> Statement {
        Statement::from_string(db.get_database_backend(), sql)
    }

    #[test]
    fn statements_that_write_are_told_from_others() {
        for sql in [
            "INSERT INTO \"api_keys\" (\"id\") VALUES (?)",
            "UPDATE \"members\" SET \"role\" = ?",
            "DELETE FROM \"packages\" WHERE \"id\" = ?",
            "INSERT INTO \"packages\" (\"id\") VALUES ($1) RETURNING \"id\"",
            "DELETE FROM members",
        ] {
            assert!(writes(sql), "{sql}");
        }
        for sql in ["SELECT * FROM \"members\"", "INSERT INTO \"jobs\" (\"id\") VALUES (?)"] {
            assert!(!writes(sql), "{sql}");
        }
    }

    #[tokio::test]
    async fn epoch_ends_with_a_statement_and_with_a_commit_and_not_before() {
        for fresh in databases().await {
            let db = &fresh.db;
            let before = db.epoch.now();
            let select = "SELECT * FROM \"members\"";
            db.query_all_raw(statement(db, select)).await.unwrap();
            assert_eq!(db.epoch.now(), before, "{}", fresh.name);

            db.execute_raw(statement(db, WRITE)).await.unwrap();
            assert_eq!(db.epoch.now(), before + 1, "{}", fresh.name);

            let tx = begin(db).await.unwrap();
            tx.execute_raw(statement(db, WRITE)).await.unwrap();
            assert_eq!(db.epoch.now(), before + 1, "{}", fresh.name);
            tx.commit().await.unwrap();
            assert_eq!(db.epoch.now(), before + 2, "{}", fresh.name);
        }
    }

    #[tokio::test]
    async fn statement_whose_caller_goes_away_is_carried_to_its_end() {
        let databases = databases().await;
        let db = &databases[0].db;
        let before = db.epoch.now();

        let asked = async { db.execute_raw(statement(db, WRITE)).await };
        assert!(asked.now_or_never().is_none());
        assert_eq!(db.epoch.now(), before);

        while db.epoch.now() == before {
            tokio::task::yield_now().await;
        }
    }
}
