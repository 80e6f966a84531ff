//! The connection to the database, which waits for a statement only while the database answers.
//!
//! A PostgreSQL whose machine lost its power, or whose network drops every packet, ends no
//! connection: TCP would let a statement wait for a quarter of an hour and more. So a statement
//! that takes long has the database asked over a new connection. Where that gives no answer the
//! statement fails; a slow statement of a database that answers is waited for.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _, try_unfold};
use sea_orm::prelude::async_trait::async_trait;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::{self, Connection as _, Executor as _, SqlitePool};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend,
    DbErr, ExecResult, QueryResult, QueryStream, RuntimeErr, SqliteTransactionMode, Statement,
    StreamTrait, TransactionOptions, TransactionTrait as _,
};
use tokio::time::{error::Elapsed, timeout};

use super::direct::{Direct, WriteTurn};
use super::epoch::{self, Epoch};
use super::failure::{is_restarting, no_answer};
use super::script::Script;
use crate::store::begin;
use crate::store::known::Known;

/// How long a statement takes before the database is asked whether it answers: longer than the
/// wait for a connection, which ends by itself.
const SLOW: Duration = Duration::from_secs(4);
/// How long a database may take to answer a new connection.
const ANSWER: Duration = Duration::from_secs(3);
/// How long a statement may take in all: its own connection may be lost while others are answered.
const STATEMENT_MAX: Duration = Duration::from_secs(600);

/// A pool of connections; clones share it.
#[derive(Debug, Clone)]
pub struct Db {
    pub(in crate::store) connection: DatabaseConnection,
    /// How SQLite is asked outside transactions.
    pub(super) direct: Option<Direct>,
    remote: Remote,
    pub(in crate::store) epoch: Epoch,
    pub(in crate::store) known: Arc<Known>,
}

/// A transaction, which is rolled back unless it is committed.
#[derive(Debug)]
pub struct Transaction {
    pub(in crate::store) transaction: DatabaseTransaction,
    /// Of one that writes to SQLite.
    turn: Option<WriteTurn>,
    remote: Remote,
    epoch: Epoch,
    /// Whether its end is the end of the epoch.
    ends_epoch: AtomicBool,
}

/// How a database on another machine is reached; `None` for SQLite, which is a file.
#[derive(Clone)]
struct Remote(Option<Box<PgConnectOptions>>);

impl Db {
    pub(in crate::store) async fn connect(options: ConnectOptions) -> Result<Self, DbErr> {
        let url = options.get_url().to_owned();
        let connection = Database::connect(options).await?;
        let is_remote = connection.get_database_backend() == DbBackend::Postgres;
        let direct =
            (!is_remote).then(|| Direct::new(connection.get_sqlite_connection_pool().clone()));
        let remote = is_remote.then(|| url.parse().map(Box::new)).transpose();
        let remote = remote.map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error))))?;
        let (epoch, known) = (Epoch::default(), Arc::default());
        Ok(Self { connection, direct, remote: Remote(remote), epoch, known })
    }

    pub(in crate::store) async fn begin_with_options(
        &self,
        options: TransactionOptions,
    ) -> Result<Transaction, DbErr> {
        let writes = options.sqlite_transaction_mode == Some(SqliteTransactionMode::Immediate);
        let turn = match &self.direct {
            Some(direct) if writes => direct.write_turn().await,
            Some(_) | None => None,
        };
        let begun = self.remote.answer(self.connection.begin_with_options(options)).await?;
        let (remote, epoch) = (self.remote.clone(), self.epoch.clone());
        let ends_epoch = AtomicBool::new(false);
        Ok(Transaction { transaction: begun, turn, remote, epoch, ends_epoch })
    }

    /// Takes statements down for [`Self::run`].
    pub(in crate::store) fn script(&self) -> Script {
        Script::new(self.connection.get_database_backend())
    }

    /// Runs a script as one transaction, unless `guard`, its first statement, does not change
    /// exactly one row.
    ///
    /// # Errors
    /// It may have been committed all the same, where the database does not answer.
    pub(in crate::store) async fn run(
        &self,
        guard: Statement,
        script: Script,
    ) -> Result<(), DbErr> {
        let statements = script.into_statements();
        let Some(direct) = &self.direct else {
            let tx = begin(self).await?;
            if tx.execute_raw(guard).await?.rows_affected() != 1 {
                return Err(DbErr::RecordNotUpdated);
            }
            for statement in statements {
                tx.execute_raw(statement).await?;
            }
            return tx.commit().await;
        };
        if statements.iter().any(|statement| epoch::writes(&statement.sql)) {
            let direct = direct.clone();
            return self.epoch.carry(async move { direct.transact(guard, statements).await }).await;
        }
        direct.transact(guard, statements).await
    }

    /// Ends all connections, those of clones too.
    pub async fn close(&self) -> Result<(), DbErr> {
        if let Some(direct) = &self.direct {
            direct.close().await;
        }
        self.connection.close_by_ref().await
    }

    /// How many connections the pool has.
    pub fn connections(&self) -> u32 {
        match &self.direct {
            Some(direct) => direct.connections().0.saturating_add(self.sqlite_pool().size()),
            None => self.connection.get_postgres_connection_pool().size(),
        }
    }

    /// How many of them do nothing.
    pub fn idle_connections(&self) -> usize {
        match &self.direct {
            Some(direct) => direct.connections().1 + self.sqlite_pool().num_idle(),
            None => self.connection.get_postgres_connection_pool().num_idle(),
        }
    }

    /// The pool of an SQLite database.
    ///
    /// # Panics
    ///
    /// Where the database is another one.
    pub(in crate::store) fn sqlite_pool(&self) -> &SqlitePool {
        self.connection.get_sqlite_connection_pool()
    }
}

impl Transaction {
    /// # Errors
    /// It may have been committed all the same, where the database does not answer.
    pub async fn commit(self) -> Result<(), DbErr> {
        let Self { transaction, turn, remote, epoch, ends_epoch } = self;
        let committed = async move {
            let done = remote.answer(transaction.commit()).await;
            drop(turn);
            done
        };
        if ends_epoch.into_inner() { epoch.carry(committed).await } else { committed.await }
    }

    fn note(&self, sql: &str) {
        if epoch::writes(sql) {
            self.ends_epoch.store(true, Ordering::Relaxed);
        }
    }
}

/// Without the password.
impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Remote").field(&self.0.as_ref().map(|server| server.get_host())).finish()
    }
}

impl Remote {
    /// Waits for an answer as long as the database gives any.
    async fn answer<T>(
        &self,
        statement: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        let Some(server) = &self.0 else { return statement.await };
        let mut statement = pin!(statement);
        let watched = async {
            loop {
                if let Ok(done) = timeout(SLOW, &mut statement).await {
                    return done;
                }
                tokio::select! {
                    done = &mut statement => return done,
                    answers = answers(server) => if !answers { return Err(no_answer()) },
                }
            }
        };
        timeout(STATEMENT_MAX, watched).await.unwrap_or_else(|_| Err(no_answer()))
    }
}

/// Whether the database answers a new connection. One that refuses it does: it may have too many.
async fn answers(server: &PgConnectOptions) -> bool {
    let asked = async {
        let mut connection = sqlx::PgConnection::connect_with(server).await?;
        connection.execute("SELECT 1").await?;
        connection.close().await
    };
    let said: Result<Result<(), sqlx::Error>, Elapsed> = timeout(ANSWER, asked).await;
    match said {
        Ok(Ok(())) => true,
        Ok(Err(sqlx::Error::Database(error))) => !is_restarting(&*error),
        Ok(Err(_)) | Err(_) => false,
    }
}

/// What the methods of [`ConnectionTrait`] do.
impl Db {
    async fn execute(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match &self.direct {
            Some(direct) => direct.execute(statement).await,
            None => self.remote.answer(self.connection.execute_raw(statement)).await,
        }
    }

    async fn execute_text(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match &self.direct {
            Some(direct) => direct.execute_unprepared(sql).await,
            None => self.remote.answer(self.connection.execute_unprepared(sql)).await,
        }
    }

    async fn one(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match &self.direct {
            Some(direct) => direct.query_one(statement).await,
            None => self.remote.answer(self.connection.query_one_raw(statement)).await,
        }
    }

    async fn all(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match &self.direct {
            Some(direct) => direct.query_all(statement).await,
            None => self.remote.answer(self.connection.query_all_raw(statement)).await,
        }
    }
}

#[async_trait]
impl ConnectionTrait for Db {
    fn get_database_backend(&self) -> DbBackend {
        self.connection.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        if epoch::writes(&statement.sql) {
            let db = self.clone();
            return self.epoch.carry(async move { db.execute(statement).await }).await;
        }
        self.execute(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        if epoch::writes(sql) {
            let (db, sql) = (self.clone(), sql.to_owned());
            return self.epoch.carry(async move { db.execute_text(&sql).await }).await;
        }
        self.execute_text(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        if epoch::writes(&statement.sql) {
            let db = self.clone();
            return self.epoch.carry(async move { db.one(statement).await }).await;
        }
        self.one(statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        if epoch::writes(&statement.sql) {
            let db = self.clone();
            return self.epoch.carry(async move { db.all(statement).await }).await;
        }
        self.all(statement).await
    }
}

#[async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        ConnectionTrait::get_database_backend(&self.transaction)
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.note(&statement.sql);
        self.remote.answer(self.transaction.execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.note(sql);
        self.remote.answer(self.transaction.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.note(&statement.sql);
        self.remote.answer(self.transaction.query_one_raw(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.note(&statement.sql);
        self.remote.answer(self.transaction.query_all_raw(statement)).await
    }
}

impl StreamTrait for Db {
    type Stream<'a> = BoxStream<'a, Result<QueryResult, DbErr>>;

    fn get_database_backend(&self) -> DbBackend {
        self.connection.get_database_backend()
    }

    fn stream_raw<'a>(
        &'a self,
        statement: Statement,
    ) -> Pin<Box<dyn Future<Output = Result<Self::Stream<'a>, DbErr>> + 'a + Send>> {
        Box::pin(async {
            let rows = self.remote.answer(self.connection.stream_raw(statement)).await?;
            let next = async |mut rows: QueryStream| {
                let row = self.remote.answer(rows.try_next()).await?;
                Ok(row.map(|row| (row, rows)))
            };
            Ok(try_unfold(rows, next).boxed())
        })
    }
}

#[cfg(test)]
impl From<SqlitePool> for Db {
    fn from(pool: SqlitePool) -> Self {
        let direct = Some(Direct::new(pool.clone()));
        let (epoch, known) = (Epoch::default(), Arc::default());
        Self { connection: pool.into(), direct, remote: Remote(None), epoch, known }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::store::testing::databases;

    #[tokio::test]
    async fn slow_statement_of_a_database_that_answers_is_waited_for() {
        let Some(fresh) = databases().await.into_iter().find(|fresh| fresh.name == "postgres")
        else {
            return;
        };
        let began = Instant::now();
        let slow = SLOW + ANSWER + SLOW;

        let sleep = format!("SELECT pg_sleep({})", slow.as_secs());
        fresh.db.execute_unprepared(&sleep).await.unwrap();

        assert!(began.elapsed() >= slow);
    }
}
