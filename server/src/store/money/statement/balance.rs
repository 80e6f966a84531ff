//! What a workspace has, and where it is.

use chrono::{DateTime, Utc};
use common::ids::WorkspaceId;
use common::money::credits::Credits;
use common::money::ledger::Account;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait as _;
use sea_orm::{Order, QueryOrder, QuerySelect, QueryTrait as _};

use super::{Column, Entity};
use crate::store::money::ledger::{self, transfers};
use crate::store::money::shards;
use crate::store::{corrupt, time};

/// Lines of what was earned and paid out, as the partial index says it: no database would know it
/// from bound values.
const EARNINGS: &str = "kind IN (3, 4, 5)";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// What new runs can be paid from.
    pub available: Credits,
    /// What unfinished runs have reserved.
    pub held: Credits,
    /// What unfinished runs have been charged: their lines of the statement come when they end.
    pub charged: Credits,
    /// What nodes have earned and cannot be spent yet.
    pub pending: Credits,
    /// What is on its way out.
    pub outgoing: Credits,
}

impl Balance {
    /// The sum of the lines of the statement.
    pub fn total(&self) -> Credits {
        self.available.saturating_add(self.held).saturating_add(self.charged)
    }
}

/// When the first and the last of what is pending was earned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    pub first: DateTime<Utc>,
    pub last: DateTime<Utc>,
}

pub async fn balance(db: &impl ConnectionTrait, owner: WorkspaceId) -> Result<Balance, DbErr> {
    let (accounts, charged) = ledger::of_workspace(db, owner).await?;
    let credits = |units| Credits::from_units(units).ok_or_else(|| corrupt("balance"));
    let of = |account| credits(accounts.get(&account).copied().unwrap_or(0));
    let pending = accounts.iter().filter(|(account, _)| matches!(account, Account::Pending(..)));
    Ok(Balance {
        available: of(Account::Available(owner))?,
        held: of(Account::Held(owner))?,
        charged: credits(charged)?,
        pending: credits(pending.map(|(_, units)| units).sum())?,
        outgoing: of(Account::Outgoing(owner))?,
    })
}

/// What a workspace has earned and has not asked to be paid out, whether or not it has spent it.
pub async fn earned(db: &impl ConnectionTrait, owner: WorkspaceId) -> Result<Credits, DbErr> {
    let sum = "CAST(COALESCE(SUM(COALESCE(credit, 0) - COALESCE(debit, 0)), 0) AS BIGINT)";
    let sum = earnings(owner).select_only().expr_as(Expr::cust(sum), "units");
    let units: Option<i64> = sum.into_tuple().one(db).await?;
    Credits::from_units(units.unwrap_or(0)).ok_or_else(|| corrupt("sum of earnings"))
}

fn earnings(owner: WorkspaceId) -> Select<Entity> {
    Entity::find().filter(Column::Owner.eq(owner.uuid())).filter(Expr::cust(EARNINGS))
}

/// When what an operator has earned and not been given was earned; `None` where there is nothing.
pub async fn pending(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
) -> Result<Option<Pending>, DbErr> {
    let released = Expr::col((shards::Entity, shards::Column::Released));
    let at = async |order| {
        let found = transfers::Entity::find()
            .select_only()
            .column(transfers::Column::AtUs)
            .filter(transfers::Column::ToOwner.eq(owner.uuid()))
            // As the partial index says it: no database would know it from a bound value.
            .filter(Expr::cust("kind = 'capture'"))
            .filter(shards::is_of_shard())
            .filter(Expr::col(transfers::Column::Number).gt(released.clone()))
            .order_by(transfers::Column::Number, order)
            .limit(1)
            .into_query();
        let found = shards::of_each(db, found).await?;
        Ok::<_, DbErr>(found.into_iter().map(|(_, at)| time(at)))
    };
    let (first, last) = (at(Order::Asc).await?.min(), at(Order::Desc).await?.max());
    Ok(first.zip(last).map(|(first, last)| Pending { first, last }))
}

#[cfg(test)]
mod tests {
    use common::money::statement::LineKind;
    use uuid::Uuid;

    use super::*;
    use crate::store::testing::{databases, steps};

    #[tokio::test]
    async fn earnings_are_found_in_an_index() {
        let kinds = [LineKind::Earning, LineKind::Payout, LineKind::PayoutReturn];
        let [a, b, c] = kinds.map(LineKind::number);
        assert_eq!(EARNINGS, format!("kind IN ({a}, {b}, {c})"));
        let databases = databases().await;

        let steps = steps(&databases[0].db, &earnings(WorkspaceId::new(Uuid::nil()))).await;

        assert!(steps.contains("USING INDEX statement_lines_payouts"), "{steps}");
    }
}
