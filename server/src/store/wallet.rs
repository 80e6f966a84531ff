//! The wallet as its owner reads it: two balances and a statement.

use chrono::{DateTime, Utc};
use common::credits::Credits;
use common::ids::{JobId, RunId, TransferId, WorkspaceId};
use common::ledger::Account;
use common::market::Line as NewLine;
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue::Set, QueryOrder, QuerySelect};

use super::{batches, corrupt, ledger, micros, storable, time};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "statement_lines")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub owner: Uuid,
    pub at_us: i64,
    pub credit: Option<i64>,
    pub debit: Option<i64>,
    pub run: Option<Uuid>,
    pub job: Option<Uuid>,
    pub description: String,
    pub balance: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

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
    let credits = |units| Credits::from_units(units).ok_or_else(|| corrupt("balance"));
    Ok(Balance {
        available: credits(ledger::units(db, Account::Available(owner)).await?)?,
        held: credits(ledger::units(db, Account::Held(owner)).await?)?,
    })
}

/// The statement, newest first.
pub async fn lines(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    offset: u64,
    limit: u64,
) -> Result<Vec<Line>, DbErr> {
    let rows = Entity::find()
        .filter(Column::Owner.eq(owner.uuid()))
        .order_by_desc(Column::Id)
        .offset(offset)
        .limit(limit)
        .all(db)
        .await?;
    rows.into_iter().map(line).collect()
}

pub async fn count_lines(db: &impl ConnectionTrait, owner: WorkspaceId) -> Result<u64, DbErr> {
    Entity::find().filter(Column::Owner.eq(owner.uuid())).count(db).await
}

pub(super) async fn insert_lines(
    db: &impl ConnectionTrait,
    lines: &[(&NewLine, Option<JobId>)],
) -> Result<(), DbErr> {
    for some in batches(lines) {
        let rows = some.iter().map(|(line, job)| ActiveModel {
            // Version 7 ids rise, so that the order of ids is the order of lines.
            id: Set(Uuid::now_v7()),
            owner: Set(line.owner.uuid()),
            at_us: Set(micros(line.at)),
            credit: Set(line.credit.map(Credits::units)),
            debit: Set(line.debit.map(Credits::units)),
            run: Set(line.run.map(RunId::uuid)),
            job: Set(job.map(JobId::uuid)),
            description: Set(storable(&line.description)),
            balance: Set(line.balance.units()),
        });
        Entity::insert_many(rows).exec_without_returning(db).await?;
    }
    Ok(())
}

fn line(row: Model) -> Result<Line, DbErr> {
    let credits = |units| Credits::from_units(units).ok_or_else(|| corrupt("amount"));
    Ok(Line {
        id: TransferId::new(row.id),
        at: time(row.at_us),
        credit: row.credit.map(credits).transpose()?,
        debit: row.debit.map(credits).transpose()?,
        run: row.run.map(RunId::new),
        job: row.job.map(JobId::new),
        description: row.description,
        balance: credits(row.balance)?,
    })
}
