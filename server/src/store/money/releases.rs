//! How far operators' earnings have been given to them, and what is due next.

use chrono::{DateTime, Utc};
use common::ids::WorkspaceId;
use common::market::Share;
use common::money::credits::Credits;
use common::money::ledger::Kind;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, QueryFilter, QuerySelect,
};
use uuid::Uuid;

use super::ledger::transfers::{Column as T, Entity as Transfers};
use crate::store::{corrupt, micros, time};

/// The most transfers that one release looks through.
const TRANSFERS_MAX: i64 = 50_000;

mod row {
    use sea_orm::entity::prelude::*;

    /// The table has one row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "releases")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub one: i32,
        pub through: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The captures of the transfers after one and up to another, by operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Of a transfer; -1 before the first.
    pub after: i64,
    pub through: i64,
    pub shares: Vec<Share>,
}

/// The number of the last transfer whose earning has been given.
pub async fn last(db: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let row = row::Entity::find_by_id(1).one(db).await?;
    row.map(|row| row.through).ok_or_else(|| corrupt("release"))
}

/// What was captured up to `then` and has not been given to its operators: a bounded part of it,
/// or `None`.
pub async fn due(db: &impl ConnectionTrait, then: DateTime<Utc>) -> Result<Option<Release>, DbErr> {
    let after = last(db).await?;
    let part = || {
        Transfers::find()
            .filter(T::Number.gt(after))
            .filter(T::Number.lte(after.saturating_add(TRANSFERS_MAX)))
    };
    let number = |query: sea_orm::Select<Transfers>, expr| {
        query.select_only().expr_as(expr, "number").into_tuple::<Option<i64>>()
    };
    let newest = number(part(), Expr::col(T::Number).max()).one(db).await?.flatten();
    let young = part().filter(T::AtUs.gt(micros(then)));
    let young = number(young, Expr::col(T::Number).min()).one(db).await?.flatten();
    let Some(through) = young.map(|first| first - 1).or(newest).filter(|last| *last > after) else {
        return Ok(None);
    };
    let captures = part().filter(T::Number.lte(through)).filter(T::Kind.eq(Kind::Capture.as_str()));
    let mut shares = shares(db, captures.clone()).await?;
    for reversal in reversals(db, after).await? {
        let reversed = captures
            .clone()
            .filter(T::Number.lt(reversal.number))
            .filter(T::Run.eq(reversal.run))
            .filter(T::ToOwner.eq(reversal.from_owner));
        for taken in self::shares(db, reversed).await? {
            if let Some(share) = shares.iter_mut().find(|share| share.operator == taken.operator) {
                share.amount = share.amount.saturating_sub(taken.amount);
                share.tasks = share.tasks.saturating_sub(taken.tasks);
                share.jobs = share.jobs.saturating_sub(taken.jobs);
            }
        }
    }
    shares.retain(|share| !share.amount.is_zero());
    Ok(Some(Release { after, through, shares }))
}

#[derive(FromQueryResult)]
struct Reversal {
    number: i64,
    run: Option<Uuid>,
    from_owner: Uuid,
}

/// What was taken back after this transfer: the captures of a run and an operator before it are
/// not given any more.
async fn reversals(db: &impl ConnectionTrait, after: i64) -> Result<Vec<Reversal>, DbErr> {
    Transfers::find()
        .select_only()
        .columns([T::Number, T::Run, T::FromOwner])
        .filter(T::Number.gt(after))
        .filter(T::Kind.eq(Kind::Reversal.as_str()))
        .into_model()
        .all(db)
        .await
}

async fn shares(
    db: &impl ConnectionTrait,
    captures: sea_orm::Select<Transfers>,
) -> Result<Vec<Share>, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        operator: Uuid,
        units: i64,
        tasks: i64,
        jobs: i64,
        first_us: i64,
        last_us: i64,
    }
    let rows: Vec<Row> = captures
        .select_only()
        .column_as(T::ToOwner, "operator")
        .expr_as(Expr::cust("CAST(SUM(units) AS BIGINT)"), "units")
        .expr_as(Expr::cust("COUNT(*)"), "tasks")
        .expr_as(Expr::cust("COUNT(DISTINCT run)"), "jobs")
        .expr_as(Expr::col(T::AtUs).min(), "first_us")
        .expr_as(Expr::col(T::AtUs).max(), "last_us")
        .group_by(T::ToOwner)
        .into_model()
        .all(db)
        .await?;
    let share = |row: Row| {
        Ok(Share {
            operator: WorkspaceId::new(row.operator),
            amount: Credits::from_units(row.units).ok_or_else(|| corrupt("sum of captures"))?,
            tasks: row.tasks.unsigned_abs(),
            jobs: row.jobs.unsigned_abs(),
            from: time(row.first_us),
            to: time(row.last_us),
        })
    };
    rows.into_iter().map(share).collect()
}

/// Notes that earnings have been given, unless they had been already.
pub(in crate::store) async fn advance(
    db: &impl ConnectionTrait,
    after: i64,
    through: i64,
) -> Result<bool, DbErr> {
    let moved = row::Entity::update_many()
        .col_expr(row::Column::Through, Expr::value(through))
        .filter(row::Column::Through.eq(after))
        .exec(db)
        .await?;
    Ok(moved.rows_affected == 1)
}
