//! Opens the server's database, and says what is wrong with it before anything is served from it.

use std::io;
use std::path::PathBuf;

use crate::config::Config;
use crate::startup::last_batch;
use crate::store;
use crate::store::Db;
use crate::store::database::{integrity, wal};

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the database {database} cannot be used")]
    Db { database: String, source: store::Error },
    #[error(
        "the database {database} is damaged ({how}): keep a copy of it and restore a backup; \
         docs/operations/backup.md says how"
    )]
    Damaged { database: String, how: String },
    #[error(
        "the database {database} cannot be written: let its file and folder be written, or restore \
         a backup if they can be, because its header is damaged then"
    )]
    ReadOnly { database: String },
    #[error("the database's log {} cannot be read", .file.display())]
    WalRead { file: PathBuf, source: io::Error },
    #[error(
        "the database's log {} is damaged: {} would be lost. Restore a backup, or give them up; \
         docs/operations/backup.md says how", .0.file.display(), transactions(.0.transactions)
    )]
    Wal(wal::DamagedWal),
    #[error(transparent)]
    LastBatch(#[from] last_batch::Error),
}

fn transactions(n: Option<u64>) -> String {
    match n {
        Some(n) => format!("{n} transactions behind the damaged place"),
        None => "all transactions in it".to_owned(),
    }
}

/// Opens the database and brings its schema up to date, unless it is damaged. Reads all of an
/// SQLite database.
///
/// # Errors
/// The text says what to do.
pub async fn open(config: &Config) -> Result<Db, Error> {
    let url = &config.database();
    let failed = |error| failure(url, error);
    if let Some(damaged) = wal::damage(url).map_err(|source| wal_unreadable(url, source))? {
        return Err(Error::Wal(damaged));
    }
    let db = store::connect(url).await.map_err(failed)?;
    let problems = integrity::problems(&db).await.map_err(failed)?;
    if !problems.is_empty() {
        db.close().await.map_err(failed)?;
        return Err(Error::Damaged { database: name(url), how: problems.join("; ") });
    }
    last_batch::check(&config.data_dir, &db).await?;
    store::upgrade(&db).await.map_err(failed)?;
    if store::market::batch_number::is_writable(&db).await.map_err(failed)? {
        Ok(db)
    } else {
        Err(Error::ReadOnly { database: name(url) })
    }
}

/// An error of this database, told as damage where it is that.
fn failure(url: &str, source: store::Error) -> Error {
    if store::is_damage(&source) {
        Error::Damaged { database: name(url), how: source.to_string() }
    } else {
        Error::Db { database: name(url), source }
    }
}

fn wal_unreadable(url: &str, source: io::Error) -> Error {
    Error::WalRead { file: wal::database_file(url).unwrap_or_default(), source }
}

/// What messages call the database. The URL of another one than SQLite's may hold a password.
fn name(url: &str) -> String {
    wal::database_file(url).map_or("of database_url".to_owned(), |file| file.display().to_string())
}
