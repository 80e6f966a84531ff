//! The tables. Nothing above this module sees sea-orm's types, but for the connection it passes
//! down.

pub mod catalogue;
pub mod database;
pub mod definitions;
pub mod idempotency_keys;
pub mod jobs;
mod known;
pub mod logs;
pub mod market;
pub mod money;
pub mod nodes;
pub mod people;
pub mod pools;
pub mod query;
pub mod queues;
pub mod schedules;
pub mod secrets;
pub mod storage;
#[cfg(test)]
pub mod testing;

pub use database::connection::{Db, Transaction};
pub use database::failure::{is_away, is_damage, is_full, is_read_only, no_answer};
pub use database::row_check::check;
pub use database::upgrade::upgrade;
pub use market::snapshot::load;
pub use query::document::{prove_rules, prove_table};
pub use query::rows::UnreadableRow;

use std::time::Duration;

use chrono::{DateTime, Utc};
use common::run::task::StageNo;
use sea_orm::{ConnectOptions, DbErr, RuntimeErr, SqliteTransactionMode, TransactionOptions};

/// The database failed, or holds what nobody can have written.
pub use sea_orm::DbErr as Error;

/// How long a caller waits for a connection before the database counts as away.
const ACQUIRE: Duration = Duration::from_secs(3);
/// How long a connection did nothing before it is asked whether it lives when it is used again.
const ASKED_AFTER: Duration = Duration::from_secs(1);
/// How long a statement waits for SQLite's write lock.
const BUSY: Duration = Duration::from_secs(10);

/// How many statements a connection keeps prepared: those that write rows have several lengths.
const PREPARED: usize = 512;
/// How many pages' bytes a connection to SQLite keeps, in KiB: as a negative number.
const SQLITE_CACHE: &str = "-16384";
/// How many rows SQLite may be ahead of who reads them: each wait for the other costs more than a
/// row.
const SQLITE_ROWS_AHEAD: usize = 1_024;

/// Opens a transaction that may write. On SQLite it takes the write lock at once: a transaction
/// that reads first and writes later fails whenever another has written in between.
pub async fn begin(db: &Db) -> Result<Transaction, DbErr> {
    db.begin_with_options(TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    })
    .await
}

/// Connects to the database and brings its schema up to date.
pub async fn open(url: &str) -> Result<Db, DbErr> {
    let db = connect(url).await?;
    upgrade(&db).await?;
    Ok(db)
}

/// Connects to the database (`sqlite:///path/to/file` or `postgres://…`). What is committed
/// survives the loss of power.
pub async fn connect(url: &str) -> Result<Db, DbErr> {
    let mut options = ConnectOptions::new(url);
    options.sqlx_logging(false).max_connections(8).acquire_timeout(ACQUIRE);
    // A connection that was used a moment ago is there: each question costs as much as a statement.
    options.test_before_acquire_if_idle_for(ASKED_AFTER);
    options.map_sqlx_sqlite_opts(|sqlite| {
        sqlite
            .create_if_missing(true)
            .journal_mode(sea_orm::sqlx::sqlite::SqliteJournalMode::Wal)
            .synchronous(sea_orm::sqlx::sqlite::SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .statement_cache_capacity(PREPARED)
            .pragma("cache_size", SQLITE_CACHE)
            .row_buffer_size(SQLITE_ROWS_AHEAD)
    });
    options.map_sqlx_postgres_opts(|postgres| postgres.statement_cache_capacity(PREPARED));
    options.map_sqlx_sqlite_pool_opts(database::pool_guard::close_in_transaction);
    options.map_sqlx_postgres_pool_opts(database::pool_guard::close_silent);
    Db::connect(options).await
}

/// The number that stands for a stage.
fn stage_number(stage: StageNo) -> i32 {
    i32::try_from(stage.number()).unwrap_or(i32::MAX)
}

fn stage_no(number: i32) -> Result<StageNo, DbErr> {
    u32::try_from(number).map(StageNo::new).map_err(|_| corrupt("stage"))
}

/// Microseconds since 1970: how all tables keep time.
fn micros(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros()
}

fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// Text from outside as PostgreSQL takes it: without NUL.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A stored value that its own writer cannot have written.
fn corrupt(what: &str) -> DbErr {
    DbErr::Query(RuntimeErr::Internal(format!("a row has an unreadable {what}")))
}

/// The same, with what is wrong about it.
fn corrupt_by(what: &str, error: &DbErr) -> DbErr {
    DbErr::Query(RuntimeErr::Internal(format!("a row has an unreadable {what}: {error}")))
}
