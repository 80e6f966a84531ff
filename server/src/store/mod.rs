//! The tables. Nothing above this module sees sea-orm's types, but for the connection it passes
//! down.

pub mod nodes;
pub mod runs;
pub mod wallet;

use sea_orm::{
    ConnectOptions, Database, DatabaseConnection, DatabaseTransaction, DbErr,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};

pub type Db = DatabaseConnection;

/// Opens a transaction that may write. On SQLite it takes the write lock at once: a transaction
/// that reads first and writes later fails whenever another has written in between.
pub async fn begin(db: &Db) -> Result<DatabaseTransaction, DbErr> {
    db.begin_with_options(TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    })
    .await
}

/// Opens the database (`sqlite:///path/to/file` or `postgres://…`) and brings its schema up to
/// date.
pub async fn open(url: &str) -> Result<Db, DbErr> {
    todo!()
}
