//! How far operators' earnings have been given to them, and what is due next.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::ids::WorkspaceId;
use common::market::{Earned, Share};
use common::money::credits::Credits;
use common::money::ledger::Kind;
use common::money::shard::Shard;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, QueryFilter, QuerySelect,
    QueryTrait as _,
};
use uuid::Uuid;

use super::ledger::transfers::{Column as T, Entity as Transfers};
use super::shards;
use crate::store::{corrupt, micros, time};

/// The most transfers that one release looks through.
const TRANSFERS_MAX: i64 = 50_000;

/// A part of the transfers of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub shard: Shard,
    /// Of a transfer; -1 before the first.
    pub after: i64,
    pub through: i64,
}

/// The captures of a part of the transfers, by operator and shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub ranges: Vec<Range>,
    pub shares: Vec<Share>,
}

/// Whether nothing of a release has been given.
pub async fn is_open(db: &impl ConnectionTrait, release: &Release) -> Result<bool, DbErr> {
    let released: BTreeMap<i16, i64> = shards::Entity::find()
        .all(db)
        .await?
        .into_iter()
        .map(|row| (row.no, row.released))
        .collect();
    let is_next = |range: &Range| released.get(&range.shard.number().into()) == Some(&range.after);
    Ok(release.ranges.iter().all(is_next))
}

/// What was captured up to `then` and has not been given to its operators: a bounded part of it,
/// or `None`.
pub async fn due(db: &impl ConnectionTrait, then: DateTime<Utc>) -> Result<Option<Release>, DbErr> {
    let mut release = Release { ranges: Vec::new(), shares: Vec::new() };
    let mut left = TRANSFERS_MAX;
    for (shard, after) in waiting(db, then).await? {
        if left == 0 {
            break;
        }
        let most = Range { shard, after, through: after.saturating_add(left) };
        let Some(range) = old_part(db, most, then).await? else { continue };
        left -= range.through - range.after;
        release.ranges.push(range);
        release.shares.extend(earned(db, range).await?);
    }
    Ok(Some(release).filter(|release| !release.ranges.is_empty()))
}

/// The shards whose first transfer that no release has looked through is old enough, with the
/// last that one has.
async fn waiting(
    db: &impl ConnectionTrait,
    then: DateTime<Utc>,
) -> Result<Vec<(Shard, i64)>, DbErr> {
    let next = Expr::col((shards::Entity, shards::Column::Released)).add(1);
    let next = Transfers::find()
        .select_only()
        .expr_as(Expr::col(T::Number).sub(1), "released")
        .filter(shards::is_of_shard())
        .filter(Expr::col((Transfers, T::Number)).eq(next))
        .filter(T::AtUs.lte(micros(then)))
        .into_query();
    shards::of_each(db, next).await
}

fn within(range: Range) -> sea_orm::Select<Transfers> {
    Transfers::find()
        .filter(T::Shard.eq(i16::from(range.shard.number())))
        .filter(T::Number.gt(range.after))
        .filter(T::Number.lte(range.through))
}

/// The part of a range before the first transfer that is too young.
async fn old_part(
    db: &impl ConnectionTrait,
    range: Range,
    then: DateTime<Utc>,
) -> Result<Option<Range>, DbErr> {
    let number = |query: sea_orm::Select<Transfers>, expr| {
        query.select_only().expr_as(expr, "number").into_tuple::<Option<i64>>()
    };
    let newest = number(within(range), Expr::col(T::Number).max()).one(db).await?.flatten();
    let young = within(range).filter(T::AtUs.gt(micros(then)));
    let young = number(young, Expr::col(T::Number).min()).one(db).await?.flatten();
    let through = young.map(|first| first - 1).or(newest).filter(|last| *last > range.after);
    Ok(through.map(|through| Range { through, ..range }))
}

/// What operators have earned in a range and not lost since.
async fn earned(db: &impl ConnectionTrait, range: Range) -> Result<Vec<Share>, DbErr> {
    // What calls cost goes to the world, which has no owner.
    let captures =
        within(range).filter(T::Kind.eq(Kind::Capture.as_str())).filter(T::ToOwner.ne(Uuid::nil()));
    let mut shares = shares(db, range.shard, captures.clone()).await?;
    for reversal in reversals(db, range).await? {
        let reversed = captures
            .clone()
            .filter(T::Number.lt(reversal.number))
            .filter(T::Run.eq(reversal.run))
            .filter(T::ToOwner.eq(reversal.from_owner));
        for Share { operator, earned: taken, .. } in self::shares(db, range.shard, reversed).await?
        {
            if let Some(share) = shares.iter_mut().find(|share| share.operator == operator) {
                let earned = &mut share.earned;
                earned.amount = earned.amount.saturating_sub(taken.amount);
                earned.tasks = earned.tasks.saturating_sub(taken.tasks);
                earned.jobs = earned.jobs.saturating_sub(taken.jobs);
            }
        }
    }
    shares.retain(|share| !share.earned.amount.is_zero());
    Ok(shares)
}

#[derive(FromQueryResult)]
struct Reversal {
    number: i64,
    run: Option<Uuid>,
    from_owner: Uuid,
}

/// What was taken back after the beginning of a range: the captures of a run and an operator before
/// it are not given any more.
async fn reversals(db: &impl ConnectionTrait, range: Range) -> Result<Vec<Reversal>, DbErr> {
    Transfers::find()
        .select_only()
        .columns([T::Number, T::Run, T::FromOwner])
        .filter(T::Shard.eq(i16::from(range.shard.number())))
        .filter(T::Number.gt(range.after))
        .filter(T::Kind.eq(Kind::Reversal.as_str()))
        .into_model()
        .all(db)
        .await
}

async fn shares(
    db: &impl ConnectionTrait,
    shard: Shard,
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
        let earned = Earned {
            amount: Credits::from_units(row.units).ok_or_else(|| corrupt("sum of captures"))?,
            tasks: row.tasks.unsigned_abs(),
            jobs: row.jobs.unsigned_abs(),
            from: time(row.first_us),
            to: time(row.last_us),
        };
        Ok(Share { operator: WorkspaceId::new(row.operator), shard, earned })
    };
    rows.into_iter().map(share).collect()
}

/// Notes that earnings have been given, unless they had been already.
pub(in crate::store) async fn advance(
    db: &impl ConnectionTrait,
    ranges: &[Range],
) -> Result<bool, DbErr> {
    for Range { shard, after, through } in ranges {
        let moved = shards::Entity::update_many()
            .col_expr(shards::Column::Released, Expr::value(*through))
            .filter(shards::Column::No.eq(i16::from(shard.number())))
            .filter(shards::Column::Released.eq(*after))
            .exec(db)
            .await?;
        if moved.rows_affected != 1 {
            return Ok(false);
        }
    }
    Ok(true)
}
