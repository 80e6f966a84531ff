//! Statements that are run together, as one transaction, once all of them are known.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sea_orm::prelude::async_trait::async_trait;
use sea_orm::sqlx::sqlite::SqliteQueryResult;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement};

/// Takes statements down instead of running them. Nothing can be read through it, and no statement
/// says how many rows it has changed.
#[derive(Debug)]
pub struct Script {
    backend: DbBackend,
    statements: Mutex<Vec<Statement>>,
}

impl Script {
    pub(super) const fn new(backend: DbBackend) -> Self {
        Self { backend, statements: Mutex::new(Vec::new()) }
    }

    /// The statements, in their order.
    pub(super) fn into_statements(self) -> Vec<Statement> {
        self.statements.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn statements(&self) -> MutexGuard<'_, Vec<Statement>> {
        // Each change is one push.
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, statement: Statement) -> ExecResult {
        self.statements().push(statement);
        // Of whichever database: it only says that no row is known to have changed.
        SqliteQueryResult::default().into()
    }
}

fn no_rows() -> DbErr {
    DbErr::Custom("a script is not run yet, so it gives no rows".to_owned())
}

#[async_trait]
impl ConnectionTrait for Script {
    fn get_database_backend(&self) -> DbBackend {
        self.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        Ok(self.add(statement))
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        Ok(self.add(Statement::from_string(self.backend, sql)))
    }

    async fn query_one_raw(&self, _: Statement) -> Result<Option<QueryResult>, DbErr> {
        Err(no_rows())
    }

    async fn query_all_raw(&self, _: Statement) -> Result<Vec<QueryResult>, DbErr> {
        Err(no_rows())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::store::Db;
    use crate::store::testing::databases;

    /// More than SQLite gets at once.
    const LONG: usize = 2_000;

    async fn prepared(db: &Db) {
        db.execute_unprepared("CREATE TABLE guard (n INTEGER)").await.unwrap();
        db.execute_unprepared("INSERT INTO guard VALUES (1)").await.unwrap();
        db.execute_unprepared("CREATE TABLE kept (x INTEGER NOT NULL)").await.unwrap();
    }

    /// Changes one row where the guard's number is this one.
    fn guard(db: &Db, n: i32) -> Statement {
        let (sqlite, postgres) =
            ("UPDATE guard SET n = n + 1 WHERE n = ?", "UPDATE guard SET n = n + 1 WHERE n = $1");
        statement(db, (sqlite, postgres), n)
    }

    fn insert(db: &Db, x: Option<i32>) -> Statement {
        statement(db, ("INSERT INTO kept VALUES (?)", "INSERT INTO kept VALUES ($1)"), x)
    }

    fn statement(
        db: &Db,
        (sqlite, postgres): (&str, &str),
        value: impl Into<sea_orm::Value>,
    ) -> Statement {
        let backend = db.get_database_backend();
        let sql = if backend == DbBackend::Sqlite { sqlite } else { postgres };
        Statement::from_sql_and_values(backend, sql, [value.into()])
    }

    async fn script(db: &Db, rows: impl IntoIterator<Item = Option<i32>>) -> Script {
        let script = db.script();
        for x in rows {
            script.execute_raw(insert(db, x)).await.unwrap();
        }
        script
    }

    /// The guard's number, and how many rows are kept and what they sum up to.
    async fn stored(db: &Db) -> (i32, i64, i64) {
        let sql = "SELECT n, (SELECT COUNT(*) FROM kept) AS many, \
                   (SELECT COALESCE(SUM(x), 0) FROM kept) AS sum FROM guard";
        let statement = Statement::from_string(db.get_database_backend(), sql);
        let row = db.query_one_raw(statement).await.unwrap().unwrap();
        let get = |name: &str| row.try_get::<i64>("", name).unwrap();
        (row.try_get("", "n").unwrap(), get("many"), get("sum"))
    }

    #[tokio::test]
    async fn script_is_run_in_order_and_stored_whole() {
        for fresh in databases().await {
            let db = &fresh.db;
            prepared(db).await;
            let double = |db: &Db| {
                Statement::from_string(db.get_database_backend(), "UPDATE kept SET x = x * 2")
            };
            let short = script(db, [Some(3)]).await;
            short.execute_raw(double(db)).await.unwrap();
            short.execute_raw(insert(db, Some(1))).await.unwrap();

            db.run(guard(db, 1), short).await.unwrap();
            assert_eq!(stored(db).await, (2, 2, 7), "{}", fresh.name);

            db.run(guard(db, 2), script(db, (0..LONG).map(|_| Some(1))).await).await.unwrap();
            let many = i64::try_from(LONG).unwrap();
            assert_eq!(stored(db).await, (3, 2 + many, 7 + many), "{}", fresh.name);
        }
    }

    #[tokio::test]
    async fn script_that_fails_or_whose_guard_changes_nothing_stores_nothing() {
        for fresh in databases().await {
            let db = &fresh.db;
            prepared(db).await;
            for many in [1, LONG] {
                let fine = script(db, (0..many).map(|_| Some(1))).await;
                let refused = db.run(guard(db, 7), fine).await;
                assert_eq!(refused, Err(DbErr::RecordNotUpdated), "{}", fresh.name);

                let wrong = script(db, (0..many).map(|_| Some(1)).chain([None])).await;
                assert!(db.run(guard(db, 1), wrong).await.is_err(), "{}", fresh.name);
            }
            assert_eq!(stored(db).await, (1, 0, 0), "{}", fresh.name);

            // None of them has left a lock.
            db.run(guard(db, 1), script(db, [Some(1)]).await).await.unwrap();
            assert_eq!(stored(db).await, (2, 1, 1), "{}", fresh.name);
        }
    }

    #[tokio::test]
    async fn abandoned_script_is_stored_whole_or_not_at_all_and_leaves_no_lock() {
        for fresh in databases().await {
            let db = &fresh.db;
            prepared(db).await;
            for polls in 1..12 {
                let script = script(db, [Some(1), Some(1)]).await;
                let mut run = Box::pin(db.run(guard(db, 1), script));
                for _ in 0..polls {
                    if run.as_mut().now_or_never().is_some() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }

            // It waits for those before it.
            db.execute_unprepared("INSERT INTO kept VALUES (0)").await.unwrap();
            let whole = stored(db).await;
            assert!(matches!(whole, (1, 1, 0) | (2, 3, 2)), "{}: {whole:?}", fresh.name);
        }
    }

    #[tokio::test]
    async fn script_gives_no_rows() {
        let databases = databases().await;
        let db = &databases[0].db;

        assert!(db.script().query_all_raw(insert(db, None)).await.is_err());
        assert!(db.script().query_one_raw(insert(db, None)).await.is_err());
    }
}
