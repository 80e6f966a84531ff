//! Whether the database is away, so that asking again can help.

use sea_orm::sqlx::Error as Sqlx;
use sea_orm::{DbErr, RuntimeErr};

/// SQLite's primary codes: busy, locked, an IO error, a full disk.
const SQLITE: [u32; 4] = [5, 6, 10, 13];
/// PostgreSQL's classes: no connection, too few resources, an operator's intervention, a system
/// error.
const POSTGRES: [&str; 4] = ["08", "53", "57", "58"];

/// Whether the database cannot be reached, is shutting down, is locked, or has no room: all that
/// passes by itself or by its operator's hand, and says nothing of what was asked.
pub fn is_away(error: &DbErr) -> bool {
    if let DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) =
        error
    {
        return is_away_for_sqlx(error);
    }
    matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_))
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

/// PostgreSQL's codes have five characters, and SQLite's are numbers of fewer digits whose lowest
/// byte is the primary code.
fn is_passing(code: &str) -> bool {
    if code.len() == 5 {
        return POSTGRES.iter().any(|class| code.starts_with(class));
    }
    code.parse::<u32>().is_ok_and(|code| SQLITE.contains(&(code & 0xff)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_pass_are_told_from_those_that_stay() {
        for code in ["5", "517", "6", "13", "10", "3338", "57P01", "57P03", "08006", "53300"] {
            assert!(is_passing(code), "{code}");
        }
        for code in ["11", "26", "1555", "2067", "1", "23505", "42P01", "40001", "", "x"] {
            assert!(!is_passing(code), "{code}");
        }
    }

    #[test]
    fn a_database_that_cannot_be_connected_to_is_away_and_a_missing_row_is_not() {
        let refused = Sqlx::Io(std::io::ErrorKind::ConnectionRefused.into());
        assert!(is_away(&DbErr::Query(RuntimeErr::SqlxError(refused.into()))));
        let missing = Sqlx::RowNotFound;
        assert!(!is_away(&DbErr::Query(RuntimeErr::SqlxError(missing.into()))));
        assert!(!is_away(&DbErr::RecordNotUpdated));
    }
}
