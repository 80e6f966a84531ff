//! The wallet as its owner reads it: two balances and a statement.

use chrono::{DateTime, Utc};
use common::credits::Credits;
use common::ids::{JobId, RunId, TransferId, WorkspaceId};
use sea_orm::{ConnectionTrait, DbErr};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// What new runs can be paid from.
    pub available: Credits,
    /// What unfinished runs have reserved.
    pub held: Credits,
}

/// One line of the statement: a grant, or a run at its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub id: TransferId,
    pub at: DateTime<Utc>,
    /// What came in; `None` for a line that took.
    pub credit: Option<Credits>,
    /// What was taken; `None` for a line that gave.
    pub debit: Option<Credits>,
    pub run: Option<RunId>,
    pub job: Option<JobId>,
    /// The job's name, or what the grant was for.
    pub description: String,
    /// Available and held together, after this line.
    pub balance: Credits,
}

pub async fn balance(db: &impl ConnectionTrait, owner: WorkspaceId) -> Result<Balance, DbErr> {
    todo!()
}

/// The statement, newest first.
pub async fn lines(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    offset: u64,
    limit: u64,
) -> Result<Vec<Line>, DbErr> {
    todo!()
}

pub async fn count_lines(db: &impl ConnectionTrait, owner: WorkspaceId) -> Result<u64, DbErr> {
    todo!()
}
