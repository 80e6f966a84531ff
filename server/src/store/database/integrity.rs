//! Whether the pages of the database's file are intact.

use futures::TryStreamExt as _;
use sea_orm::sqlx;
use sea_orm::sqlx::Row as _;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, RuntimeErr, Statement};

use crate::store::Db;

/// Reads all pages. Ten problems are enough to look for a backup.
const QUICK_CHECK: &str = "PRAGMA quick_check(10)";
/// Also compares each index with its table, which takes far longer.
const FULL_CHECK: &str = "PRAGMA integrity_check(10)";

/// Reads every page of an SQLite database. Gives what is wrong with it, each problem with its
/// table where that is known; nothing where the database is intact. PostgreSQL checks its pages by
/// itself.
pub async fn problems(db: &Db) -> Result<Vec<String>, DbErr> {
    found_by(QUICK_CHECK, db).await
}

/// The same, with indexes that do not fit their tables.
pub async fn all_problems(db: &Db) -> Result<Vec<String>, DbErr> {
    found_by(FULL_CHECK, db).await
}

async fn found_by(check: &'static str, db: &Db) -> Result<Vec<String>, DbErr> {
    if db.get_database_backend() != DbBackend::Sqlite {
        return Ok(Vec::new());
    }
    let mut found = reported(check, db).await?;
    if found == ["ok"] {
        return Ok(Vec::new());
    }
    for problem in &mut found {
        if let Some(table) = table(db, problem).await? {
            *problem = format!("table {table}: {problem}");
        }
    }
    Ok(found)
}

/// What SQLite reports. The check may itself end with an error after that, at a page that it cannot
/// read.
async fn reported(check: &'static str, db: &Db) -> Result<Vec<String>, DbErr> {
    let mut found = Vec::new();
    let mut rows = sqlx::query(check).fetch(db.sqlite_pool());
    loop {
        match rows.try_next().await {
            Ok(Some(row)) => found.push(row.get(0)),
            Err(error) if found.is_empty() => {
                return Err(DbErr::Query(RuntimeErr::SqlxError(error.into())));
            }
            Ok(None) | Err(_) => return Ok(found),
        }
    }
}

/// The table of the B-tree that a problem names by its root page, as in "Tree 7 page 7: …".
async fn table(db: &Db, problem: &str) -> Result<Option<String>, DbErr> {
    let Some((_, rest)) = problem.split_once("Tree ") else { return Ok(None) };
    let root = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    let Ok(root) = root.parse::<u32>() else { return Ok(None) };
    let query = format!("SELECT tbl_name FROM sqlite_schema WHERE rootpage = {root}");
    Ok(column(db, &query, "tbl_name").await?.pop())
}

async fn column(db: &Db, query: &str, name: &str) -> Result<Vec<String>, DbErr> {
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Sqlite, query)).await?;
    rows.iter().map(|row| row.try_get("", name)).collect()
}

#[cfg(test)]
mod tests;
