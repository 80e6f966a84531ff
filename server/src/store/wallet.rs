//! The wallet as its owner reads it: two balances and a statement.

use chrono::{DateTime, Utc};
use common::credits::Credits;
use common::ids::{JobId, RunId, TransferId, WorkspaceId};
use common::ledger::Account;
use common::market::Line as NewLine;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::SimpleExpr;
use sea_orm::{ActiveValue::Set, DbBackend, Order};

use super::selection::{self, Field, Kind, Selection};
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

/// What lines of the statement are filtered and sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineField {
    Id,
    CreatedAt,
    Amount,
    Kind,
    JobId,
    Description,
    Balance,
}

/// A grant is a coupon, and a run is a payment.
pub const KINDS: [&str; 2] = ["coupon", "payment"];

impl Field for LineField {
    const ALL: &'static [Self] = &[
        Self::Id,
        Self::CreatedAt,
        Self::Amount,
        Self::Kind,
        Self::JobId,
        Self::Description,
        Self::Balance,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::CreatedAt => "createdAt",
            Self::Amount => "amount",
            Self::Kind => "transactionType",
            Self::JobId => "relatedEntityData.jobId",
            Self::Description => "description",
            Self::Balance => "balance",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Id | Self::JobId => Kind::Uuid,
            Self::CreatedAt => Kind::Time,
            Self::Amount | Self::Balance => Kind::Amount,
            Self::Kind => Kind::Choice(&KINDS),
            Self::Description => Kind::Text,
        }
    }

    fn expr(self, _: DbBackend) -> SimpleExpr {
        match self {
            Self::Id => Expr::col(Column::Id),
            Self::CreatedAt => Expr::col(Column::AtUs),
            // What was taken is negative.
            Self::Amount => Expr::cust("(COALESCE(credit, 0) - COALESCE(debit, 0))"),
            Self::Kind => Expr::cust("(CASE WHEN credit IS NULL THEN 1 ELSE 0 END)"),
            Self::JobId => Expr::col(Column::Job),
            Self::Description => Expr::col(Column::Description),
            Self::Balance => Expr::col(Column::Balance),
        }
    }
}

/// A part of the statement, newest first where nothing else is asked for, and how many lines
/// there are in all.
pub async fn list(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    selection: &Selection<LineField>,
) -> Result<(Vec<Line>, u64), DbErr> {
    let own = Entity::find().filter(Column::Owner.eq(owner.uuid()));
    let last = (Expr::col(Column::Id), Order::Desc);
    let (rows, total) = selection::fetch(db, own, selection, last).await?;
    Ok((rows.into_iter().map(line).collect::<Result<_, _>>()?, total))
}

/// The statement, newest first.
pub async fn lines(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    offset: u64,
    limit: u64,
) -> Result<Vec<Line>, DbErr> {
    let selection = Selection { tests: Vec::new(), order: Vec::new(), offset, limit };
    Ok(list(db, owner, &selection).await?.0)
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
