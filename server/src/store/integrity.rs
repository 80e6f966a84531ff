//! Whether the pages of the database's file are intact.

use futures::TryStreamExt as _;
use sea_orm::sqlx::{self, Row as _};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, RuntimeErr, Statement};

use super::Db;

/// Ten problems are enough to look for a backup.
const QUICK_CHECK: &str = "PRAGMA quick_check(10)";
/// SQLite's primary codes: a malformed database, and a file that is no database.
const DAMAGED: [u32; 2] = [11, 26];

/// Reads every page of an SQLite database. Gives what is wrong with it, each problem with its
/// table where that is known; nothing where the database is intact. PostgreSQL checks its pages by
/// itself.
pub async fn problems(db: &Db) -> Result<Vec<String>, DbErr> {
    if db.get_database_backend() != DbBackend::Sqlite {
        return Ok(Vec::new());
    }
    let mut found = quick_check(db).await?;
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
async fn quick_check(db: &Db) -> Result<Vec<String>, DbErr> {
    let mut found = Vec::new();
    let mut rows = sqlx::query(QUICK_CHECK).fetch(db.get_sqlite_connection_pool());
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

/// Whether an error says that the database's file is damaged.
pub fn is_damage(error: &DbErr) -> bool {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return false;
    };
    let sqlx::Error::Database(error) = &**error else { return false };
    // PostgreSQL's codes have five characters, and its messages name the damaged file.
    let code = error.code().filter(|code| code.len() < 5);
    code.and_then(|code| code.parse::<u32>().ok())
        .is_some_and(|code| DAMAGED.contains(&(code & 0xff)))
}

#[cfg(test)]
mod tests;
