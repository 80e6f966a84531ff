//! Single statements on SQLite, and transactions whose statements are all known, on connections of
//! their own.
//!
//! The pool asks a connection whether it lives when it is taken and when it is given back. To SQLite
//! each of these questions costs as much as a small statement, and a file is not lost as a server
//! is: so what is done by a single statement is done beside the pool.
//!
//! SQLite has one writer at a time. Who waits for it inside SQLite sleeps and tries again; so those
//! of this process wait for each other here, in the order in which they came.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::TryStreamExt as _;
use sea_orm::sqlx::query::Query;
use sea_orm::sqlx::sqlite::SqliteConnection;
use sea_orm::sqlx::{self, AssertSqlSafe, Connection as _, Executor as _, Sqlite, SqlitePool};
use sea_orm::{
    ConnAcquireErr, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, Values,
};
use sea_query_sqlx::SqlxValues;
use tokio::runtime::Handle;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::store::{ACQUIRE, BUSY};

/// The most statements at once.
const PLACES: u32 = 8;
/// The most bytes of text that SQLite gets at once: the statements of a longer script are fewer in
/// kind, so that each is prepared once if it is run by itself.
const JOINED_BYTES_MAX: usize = 8 << 10;

/// The connections beside a pool; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Direct {
    pool: SqlitePool,
    places: Arc<Semaphore>,
    /// Those that do nothing; the last one used is used next.
    idle: Arc<Mutex<Vec<SqliteConnection>>>,
    /// Held by who writes.
    writer: Arc<tokio::sync::Mutex<()>>,
}

/// The turn to write.
pub(super) type WriteTurn = OwnedMutexGuard<()>;

/// A connection for one statement, or for one transaction.
struct Lent {
    /// Both are there until it is dropped.
    connection: Option<SqliteConnection>,
    place: Option<OwnedSemaphorePermit>,
    idle: Arc<Mutex<Vec<SqliteConnection>>>,
    /// The statement has ended, so the connection has nothing left to do.
    is_done: bool,
    /// A transaction has begun and not been committed.
    is_open: bool,
}

impl Direct {
    pub fn new(pool: SqlitePool) -> Self {
        let places = Arc::new(Semaphore::new(PLACES as usize));
        Self { pool, places, idle: Arc::default(), writer: Arc::default() }
    }

    /// Waits for the turn to write. Where that takes too long, SQLite itself says so.
    pub async fn write_turn(&self) -> Option<WriteTurn> {
        timeout(BUSY, self.writer.clone().lock_owned()).await.ok()
    }

    pub async fn execute(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let _turn = self.write_turn().await;
        let mut lent = self.lend().await?;
        let done = lent.connection()?.execute(query(statement)).await;
        lent.is_done = true;
        done.map(ExecResult::from).map_err(exec_error)
    }

    pub async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let _turn = self.write_turn().await;
        let mut lent = self.lend().await?;
        let done = lent.connection()?.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await;
        lent.is_done = true;
        done.map(ExecResult::from).map_err(exec_error)
    }

    /// Runs statements as one transaction, unless the first does not change exactly one row.
    ///
    /// SQLite runs in a thread of its own, and each time that it and its asker wait for each other
    /// costs more than a small statement: so it gets a short script at once.
    pub async fn transact(&self, guard: Statement, rest: Vec<Statement>) -> Result<(), DbErr> {
        let _turn = self.write_turn().await;
        let mut lent = self.lend().await?;
        let done = lent.transact(guard, rest).await;
        match &done {
            Ok(()) => lent.is_done = true,
            Err(_) => lent.close().await,
        }
        done
    }

    pub async fn query_one(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let mut lent = self.lend().await?;
        let row = lent.connection()?.fetch_optional(query(statement)).await;
        lent.is_done = true;
        Ok(row.map_err(query_error)?.map(QueryResult::from))
    }

    pub async fn query_all(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut lent = self.lend().await?;
        let rows = lent.connection()?.fetch_all(query(statement)).await;
        lent.is_done = true;
        Ok(rows.map_err(query_error)?.into_iter().map(QueryResult::from).collect())
    }

    /// How many connections there are, and how many of them do nothing.
    pub fn connections(&self) -> (u32, usize) {
        let idle = lock(&self.idle).len();
        let busy = (PLACES as usize).saturating_sub(self.places.available_permits());
        (u32::try_from(idle + busy).unwrap_or(u32::MAX), idle)
    }

    /// Waits for what is under way, and closes all connections.
    pub async fn close(&self) {
        let Ok(_all) = self.places.acquire_many(PLACES).await else { return };
        self.places.close();
        let idle = std::mem::take(&mut *lock(&self.idle));
        for connection in idle {
            // The file is whole whether or not it was closed.
            let _ = connection.close().await;
        }
    }

    async fn lend(&self) -> Result<Lent, DbErr> {
        let place = timeout(ACQUIRE, self.places.clone().acquire_owned()).await;
        let place = place.map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::Timeout))?;
        let place = place.map_err(|_| closed())?;
        let idle = lock(&self.idle).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.pool.acquire().await.map_err(acquire_error)?.detach(),
        };
        let idle = Arc::clone(&self.idle);
        let (connection, place) = (Some(connection), Some(place));
        Ok(Lent { connection, place, idle, is_done: false, is_open: false })
    }
}

impl Lent {
    fn connection(&mut self) -> Result<&mut SqliteConnection, DbErr> {
        self.connection.as_mut().ok_or_else(closed)
    }

    async fn transact(&mut self, guard: Statement, rest: Vec<Statement>) -> Result<(), DbErr> {
        let bytes: usize = rest.iter().map(|statement| statement.sql.len()).sum();
        let begin = Statement::from_string(DbBackend::Sqlite, "BEGIN IMMEDIATE");
        let (first, rest) = match bytes <= JOINED_BYTES_MAX {
            true => (join([begin, guard].into_iter().chain(rest)), Vec::new()),
            false => (join([begin, guard]), rest),
        };
        self.is_open = true;
        let connection = self.connection()?;
        let mut done = connection.fetch_many(query(first));
        let mut changed = Vec::new();
        let failed = loop {
            match done.try_next().await {
                Ok(Some(result)) => changed.extend(result.left().map(|done| done.rows_affected())),
                Ok(None) => break None,
                Err(error) => break Some(exec_error(error)),
            }
        };
        drop(done);
        // The first of them is what the transaction begins with. What came after the guard may have
        // failed because the guard had nothing to change.
        match (changed.get(1), failed) {
            (Some(1), None) => {}
            (Some(1) | None, Some(error)) => return Err(error),
            (Some(_) | None, _) => return Err(DbErr::RecordNotUpdated),
        }
        for statement in rest {
            connection.execute(query(statement)).await.map_err(exec_error)?;
        }
        connection.execute("COMMIT").await.map_err(exec_error)?;
        self.is_open = false;
        Ok(())
    }

    /// Ends the connection and with it what is not committed.
    async fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            // The file is whole whether or not it was closed.
            let _ = connection.close().await;
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let (Some(mut connection), Some(place)) = (self.connection.take(), self.place.take())
        else {
            return;
        };
        let (idle, is_open) = (Arc::clone(&self.idle), self.is_open);
        if self.is_done {
            give_back(&idle, connection);
            return;
        }
        // Nobody waits for the statement any more, and it may still go on: it keeps its place until
        // it has ended.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                if is_open {
                    let _ = connection.close().await;
                } else if connection.ping().await.is_ok() {
                    give_back(&idle, connection);
                }
                drop(place);
            });
        }
    }
}

/// One that is inside a transaction, as a full disk can leave it, is closed instead.
fn give_back(idle: &Mutex<Vec<SqliteConnection>>, connection: SqliteConnection) {
    if !connection.is_in_transaction() {
        lock(idle).push(connection);
    }
}

fn lock(idle: &Mutex<Vec<SqliteConnection>>) -> MutexGuard<'_, Vec<SqliteConnection>> {
    // Each change is one push or pop.
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Statements as one, which does one after the other until one fails.
fn join(statements: impl IntoIterator<Item = Statement>) -> Statement {
    let (mut sql, mut all) = (String::new(), Vec::new());
    for statement in statements {
        sql.push_str(&statement.sql);
        sql.push(';');
        all.extend(statement.values.into_iter().flatten());
    }
    Statement { sql, values: Some(Values(all)), db_backend: DbBackend::Sqlite }
}

fn query(statement: Statement) -> Query<'static, Sqlite, SqlxValues> {
    let values = statement.values.unwrap_or(Values(Vec::new()));
    sqlx::query_with(AssertSqlSafe(statement.sql), SqlxValues(values))
}

fn closed() -> DbErr {
    DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed)
}

fn acquire_error(error: sqlx::Error) -> DbErr {
    if matches!(error, sqlx::Error::PoolTimedOut) {
        return DbErr::ConnectionAcquire(ConnAcquireErr::Timeout);
    }
    DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error)))
}

fn exec_error(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(Arc::new(error)))
}

fn query_error(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(Arc::new(error)))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use sea_orm::ConnectionTrait as _;

    use super::*;
    use crate::store::testing::databases;
    use crate::store::{begin, is_away};

    #[tokio::test]
    async fn abandoned_statement_keeps_its_place_until_it_has_ended() {
        let databases = databases().await;
        let db = &databases[0].db;
        let direct = db.direct.as_ref().unwrap();
        db.execute_unprepared("CREATE TABLE kept (x INTEGER)").await.unwrap();
        let long = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers \
                    WHERE n < 300000) SELECT COUNT(*) AS n FROM numbers";
        let statement = Statement::from_string(DbBackend::Sqlite, long);

        assert!(direct.query_one(statement).now_or_never().is_none());

        assert_eq!(direct.connections(), (1, 0));
        let all = direct.places.acquire_many(PLACES).await.unwrap();
        assert_eq!(lock(&direct.idle).len(), 1);
        drop(all);
    }

    #[tokio::test]
    async fn writers_of_one_process_wait_for_each_other() {
        let databases = databases().await;
        let db = &databases[0].db;
        db.execute_unprepared("CREATE TABLE kept (x INTEGER)").await.unwrap();
        let first = begin(db).await.unwrap();
        first.execute_unprepared("INSERT INTO kept VALUES (1)").await.unwrap();

        let mut second = Box::pin(db.execute_unprepared("INSERT INTO kept VALUES (2)"));
        assert!(second.as_mut().now_or_never().is_none());
        // It has not even taken a connection.
        let direct = db.direct.as_ref().unwrap();
        assert_eq!(direct.places.available_permits(), PLACES as usize);
        first.commit().await.unwrap();

        second.await.unwrap();
    }

    #[tokio::test]
    async fn closed_database_has_no_connection_left() {
        let databases = databases().await;
        let db = &databases[0].db;
        db.execute_unprepared("CREATE TABLE kept (x INTEGER)").await.unwrap();

        db.close().await.unwrap();

        assert_eq!(db.direct.as_ref().unwrap().connections(), (0, 0));
        let refused = db.execute_unprepared("INSERT INTO kept VALUES (1)").await.unwrap_err();
        assert!(is_away(&refused), "{refused}");
    }
}
