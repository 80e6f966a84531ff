//! The shards of the ledger: how far the transfers of each are numbered, and up to which of them
//! earnings have been given.

use std::collections::BTreeMap;

use common::money::shard::Shard;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, SelectStatement};
use sea_orm::{QueryOrder, QuerySelect, QueryTrait as _};

use super::ledger::transfers;
use crate::store::corrupt;

/// The table has a row for each shard.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "shards")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub no: i16,
    /// The last transfer whose earning has been given; -1 before the first.
    pub released: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub(super) fn read(number: i16) -> Result<Shard, DbErr> {
    u8::try_from(number).map(Shard::new).map_err(|_| corrupt("shard"))
}

/// The numbers of the next transfers, of the shards that have any.
pub(super) async fn next_numbers(db: &impl ConnectionTrait) -> Result<BTreeMap<Shard, u64>, DbErr> {
    // One look into the index for each shard.
    let last = transfers::Entity::find()
        .select_only()
        .expr_as(Expr::col(transfers::Column::Number).max(), "last")
        .filter(is_of_shard())
        .into_query();
    let rows = of_each(db, last).await?;
    let next = |(shard, last): (Shard, i64)| (shard, last.unsigned_abs() + 1);
    Ok(rows.into_iter().map(next).collect())
}

/// Of a transfer, in a query for [`of_each`]: it is of the shard.
pub(super) fn is_of_shard() -> Expr {
    Expr::col((transfers::Entity, transfers::Column::Shard)).equals((Entity, Column::No))
}

/// What a query of one value gives for each shard, where it gives any.
pub(super) async fn of_each(
    db: &impl ConnectionTrait,
    query: SelectStatement,
) -> Result<Vec<(Shard, i64)>, DbErr> {
    let rows: Vec<(i16, Option<i64>)> = Entity::find()
        .select_only()
        .column(Column::No)
        .expr_as(Expr::SubQuery(None, Box::new(query.into())), "found")
        .order_by_asc(Column::No)
        .into_tuple()
        .all(db)
        .await?;
    let found = |(no, found): (i16, Option<i64>)| {
        let found = found?;
        Some(read(no).map(|shard| (shard, found)))
    };
    rows.into_iter().filter_map(found).collect()
}
