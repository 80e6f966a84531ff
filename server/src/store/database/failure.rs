//! What a failure of the database means: that it is away, is full, may not be written, or is
//! damaged.

use std::borrow::Cow;

use sea_orm::sqlx::Error as Sqlx;
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::{DbErr, RuntimeErr};

/// SQLite's primary codes: busy, locked, an IO error, a full disk.
const SQLITE: [u32; 4] = [5, 6, 10, 13];
/// A malformed database, and a file that is no database.
const SQLITE_DAMAGED: [u32; 2] = [11, 26];
const SQLITE_READ_ONLY: u32 = 8;
const SQLITE_FULL: u32 = 13;
const POSTGRES_FULL: &str = "53100";
/// The class of an operator's intervention.
const POSTGRES_RESTARTS: &str = "57";
/// PostgreSQL's classes: no connection, too few resources, an operator's intervention, a system
/// error.
const POSTGRES: [&str; 4] = ["08", "53", "57", "58"];

/// Whether the database cannot be reached, is shutting down, is locked, or has no room: all that
/// passes by itself or by its operator's hand, and says nothing of what was asked.
pub fn is_away(error: &DbErr) -> bool {
    // A damaged file may be noticed by a new connection.
    if is_damage(error) {
        return false;
    }
    if let DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) =
        error
    {
        return is_away_for_sqlx(error);
    }
    matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_))
}

/// Whether the database has no room: a full disk, or the limit of its operator.
pub fn is_full(error: &DbErr) -> bool {
    code(error).is_some_and(|code| is_full_code(&code))
}

/// Whether the database's file is damaged. PostgreSQL names the damaged file itself.
pub fn is_damage(error: &DbErr) -> bool {
    code(error).and_then(|code| primary(&code)).is_some_and(|code| SQLITE_DAMAGED.contains(&code))
}

/// Whether the database may not be written: SQLite does not write a file whose header it does not
/// know.
pub fn is_read_only(error: &DbErr) -> bool {
    code(error).is_some_and(|code| primary(&code) == Some(SQLITE_READ_ONLY))
}

/// Whether PostgreSQL is stopping or starting: statements from before have no answer any more.
pub(super) fn is_restarting(error: &dyn DatabaseError) -> bool {
    error.code().is_some_and(|code| code.starts_with(POSTGRES_RESTARTS))
}

/// The error of a database that was asked and does not answer.
pub fn no_answer() -> DbErr {
    DbErr::Conn(RuntimeErr::Internal("the database does not answer".to_owned()))
}

fn is_away_for_sqlx(error: &Sqlx) -> bool {
    if let Sqlx::Database(error) = error {
        return error.code().is_some_and(|code| is_passing(&code));
    }
    matches!(
        error,
        Sqlx::Io(_)
            | Sqlx::Tls(_)
            | Sqlx::Protocol(_)
            | Sqlx::PoolTimedOut
            | Sqlx::PoolClosed
            | Sqlx::WorkerCrashed
    )
}

/// What the database itself names the error by.
fn code(error: &DbErr) -> Option<String> {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return None;
    };
    let Sqlx::Database(error) = &**error else { return None };
    error.code().map(Cow::into_owned)
}

/// SQLite's primary code: the lowest byte of its numbers. PostgreSQL's codes have five characters,
/// which SQLite's numbers do not reach.
fn primary(code: &str) -> Option<u32> {
    let number: u32 = code.parse().ok().filter(|_| code.len() < 5)?;
    Some(number & 0xff)
}

fn is_passing(code: &str) -> bool {
    match primary(code) {
        Some(primary) => SQLITE.contains(&primary),
        None => POSTGRES.iter().any(|class| code.starts_with(class)),
    }
}

fn is_full_code(code: &str) -> bool {
    primary(code) == Some(SQLITE_FULL) || code == POSTGRES_FULL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_temporary_failures_are_distinguished_from_permanent_ones() {
        for code in ["5", "517", "6", "13", "10", "3338", "57P01", "57P03", "08006", "53300"] {
            assert!(is_passing(code), "{code}");
        }
        for code in ["11", "26", "1555", "2067", "1", "23505", "42P01", "40001", "", "x"] {
            assert!(!is_passing(code), "{code}");
        }
    }

    #[test]
    fn full_disk_is_distinguished_from_other_failures() {
        for code in ["13", "53100"] {
            assert!(is_full_code(code), "{code}");
        }
        for code in ["5", "10", "11", "53300", "", "x"] {
            assert!(!is_full_code(code), "{code}");
        }
    }

    #[test]
    fn unreachable_database_is_distinguished_from_a_missing_row() {
        let refused = Sqlx::Io(std::io::ErrorKind::ConnectionRefused.into());
        assert!(is_away(&DbErr::Query(RuntimeErr::SqlxError(refused.into()))));
        let missing = Sqlx::RowNotFound;
        assert!(!is_away(&DbErr::Query(RuntimeErr::SqlxError(missing.into()))));
        assert!(!is_away(&DbErr::RecordNotUpdated));
    }
}
