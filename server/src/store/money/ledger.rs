//! Two tables of the ledger: balances, and the transfers that made them.

use std::collections::BTreeMap;

use common::ids::{RunId, WorkspaceId};
use common::money::credits::Credits;
use common::money::ledger::{Account, Kind, Ledger, Transfer};
use common::run::task::Lease;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait as _, OnConflict, UnionType};
use sea_orm::{QuerySelect, QueryTrait as _, Select};

use super::shards;
use crate::store::market::runs;
use crate::store::query::insert::RowWriter;
use crate::store::query::rows;
use crate::store::query::rows::UnreadableRow;
use crate::store::{Db, corrupt, micros, stage_number};

pub(in crate::store) mod accounts {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "accounts")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub kind: i16,
        #[sea_orm(primary_key, auto_increment = false)]
        pub owner: Uuid,
        /// Whose writer alone takes from it.
        #[sea_orm(primary_key, auto_increment = false)]
        pub shard: i16,
        pub units: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(in crate::store) mod transfers {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "transfers")]
    pub struct Model {
        /// That of the account that it takes from.
        #[sea_orm(primary_key, auto_increment = false)]
        pub shard: i16,
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i64,
        pub from_kind: i16,
        pub from_owner: Uuid,
        pub to_kind: i16,
        pub to_owner: Uuid,
        pub to_shard: i16,
        pub units: i64,
        pub kind: String,
        pub run: Option<Uuid>,
        pub stage: Option<i32>,
        pub idx: Option<i64>,
        pub attempt: Option<i32>,
        pub at_us: i64,
        pub request: Option<Uuid>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// In place of an account's kind: what runs were charged without a line yet.
const CHARGED: i64 = -1;

/// Adds to balances what transfers have moved. No balance is written as a whole, because other
/// writers may have given to the same account.
pub(in crate::store) async fn add_to_balances(
    db: &impl ConnectionTrait,
    added: &BTreeMap<Account, i64>,
) -> Result<(), DbErr> {
    use accounts::{Column, Entity};

    static SUM: RowWriter<Entity> = RowWriter::on_conflict(|| {
        let sum = Expr::col((Entity, Column::Units)).add(Expr::col(("excluded", Column::Units)));
        let key = [Column::Kind, Column::Owner, Column::Shard];
        OnConflict::columns(key).value(Column::Units, sum).to_owned()
    });
    let rows = added.iter().map(|(account, units)| {
        let Key { kind, owner, shard } = key(*account);
        let (kind, owner, shard) = (Set(kind), Set(owner), Set(shard));
        accounts::ActiveModel { kind, owner, shard, units: Set(*units) }
    });
    SUM.write(db, rows).await
}

/// Stores new transfers.
pub(in crate::store) async fn insert_transfers(
    db: &impl ConnectionTrait,
    new: &[Transfer],
) -> Result<(), DbErr> {
    static NEW: RowWriter<transfers::Entity> = RowWriter::new();
    let rows = new.iter().map(|transfer| {
        let (from, to) = (key(transfer.from), key(transfer.to));
        transfers::ActiveModel {
            shard: Set(from.shard),
            number: Set(i64::try_from(transfer.number).unwrap_or(i64::MAX)),
            from_kind: Set(from.kind),
            from_owner: Set(from.owner),
            to_kind: Set(to.kind),
            to_owner: Set(to.owner),
            to_shard: Set(to.shard),
            units: Set(transfer.amount.units()),
            kind: Set(transfer.kind.as_str().to_owned()),
            run: Set(transfer.run.map(RunId::uuid)),
            stage: Set(transfer.lease.map(|lease| stage_number(lease.task.stage))),
            idx: Set(transfer.lease.map(|lease| lease.task.index.into())),
            attempt: Set(transfer.lease.map(attempt)),
            at_us: Set(micros(transfer.at)),
            request: Set(transfer.request),
        }
    });
    NEW.write(db, rows).await
}

/// The ledger as it stands.
pub(in crate::store) async fn load(db: &impl ConnectionTrait) -> Result<Ledger, DbErr> {
    let mut balances = BTreeMap::new();
    for row in rows::each(db, accounts::Entity::find(), |row| balance(&row)).await? {
        match row {
            Ok((account, units)) => {
                balances.insert(account, units);
            }
            Err(UnreadableRow { table, id, why }) => {
                tracing::error!(
                    table,
                    id,
                    error = why,
                    "an account cannot be read and is left out"
                );
            }
        }
    }
    Ok(Ledger::load(balances, shards::next_numbers(db).await?))
}

/// What the transfers say of one run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct RunBooks {
    /// Whose run it is, where anything was ever held for it.
    pub owner: Option<WorkspaceId>,
    pub held: Credits,
    pub captured: Credits,
}

/// Adds up what was held for a run and taken from that. Looks through all transfers: for runs
/// that cannot be read otherwise.
pub(in crate::store) async fn of_run(
    db: &impl ConnectionTrait,
    run: RunId,
) -> Result<RunBooks, DbErr> {
    let sums: Vec<(String, Uuid, i64)> = transfers::Entity::find()
        .select_only()
        .column(transfers::Column::Kind)
        .column(transfers::Column::FromOwner)
        .expr_as(Expr::cust("CAST(SUM(units) AS BIGINT)"), "sum")
        .filter(transfers::Column::Run.eq(run.uuid()))
        .group_by(transfers::Column::Kind)
        .group_by(transfers::Column::FromOwner)
        .into_tuple()
        .all(db)
        .await?;
    let sum = |kind: Kind| sums.iter().filter(|sum| sum.0 == kind.as_str()).map(|sum| sum.2).sum();
    let (held, captured, voided): (i64, i64, i64) =
        (sum(Kind::Hold), sum(Kind::Capture), sum(Kind::Void));
    Ok(RunBooks {
        owner: sums
            .iter()
            .find(|(kind, ..)| kind == Kind::Hold.as_str())
            .map(|(_, owner, _)| WorkspaceId::new(*owner)),
        held: Credits::from_units(held - captured - voided).unwrap_or_default(),
        captured: Credits::from_units(captured).unwrap_or_default(),
    })
}

/// Finds the accounts that cannot be read.
pub(in crate::store) async fn check(db: &Db, found: &mut Vec<UnreadableRow>) -> Result<(), DbErr> {
    rows::check::<accounts::Entity, _>(db, found, |row| balance(&row)).await
}

fn balance(row: &accounts::Model) -> Result<(Account, i64), DbErr> {
    Ok((account(row.kind, row.owner, row.shard)?, row.units))
}

/// What a workspace has in each of its accounts (one that it never had is not among them), and
/// what its runs have been charged without a line yet: both at one instant, so in one statement.
pub(in crate::store) async fn of_workspace(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
) -> Result<(BTreeMap<Account, i64>, i64), DbErr> {
    let rows: Vec<(i64, i64, i64)> = balances(owner).into_tuple().all(db).await?;
    let (mut balances, mut charged) = (BTreeMap::new(), 0);
    for (kind, shard, units) in rows {
        if kind == CHARGED {
            charged = units;
        } else {
            let small = |n: i64| i16::try_from(n).map_err(|_| corrupt("account"));
            balances.insert(account(small(kind)?, owner.uuid(), small(shard)?)?, units);
        }
    }
    Ok((balances, charged))
}

/// Kinds, shards and units of a workspace's accounts, and of what its runs were charged.
fn balances(owner: WorkspaceId) -> Select<accounts::Entity> {
    let mut query = accounts::Entity::find()
        .select_only()
        .expr_as(Expr::cust("CAST(kind AS BIGINT)"), "kind")
        .expr_as(Expr::cust("CAST(shard AS BIGINT)"), "shard")
        .expr_as(Expr::cust("CAST(units AS BIGINT)"), "units")
        .filter(accounts::Column::Kind.is_in([1, 2, 3, 4]))
        .filter(accounts::Column::Owner.eq(owner.uuid()));
    let charged = runs::Entity::find()
        .select_only()
        .expr_as(Expr::cust(format!("CAST({CHARGED} AS BIGINT)")), "kind")
        .expr_as(Expr::cust("CAST(0 AS BIGINT)"), "shard")
        .expr_as(Expr::cust("CAST(COALESCE(SUM(captured - billed), 0) AS BIGINT)"), "units")
        .filter(runs::Column::Workspace.eq(owner.uuid()))
        .filter(Expr::cust("captured <> billed"));
    QuerySelect::query(&mut query).union(UnionType::All, charged.into_query());
    query
}

fn attempt(lease: Lease) -> i32 {
    i32::try_from(lease.attempt).unwrap_or(i32::MAX)
}

/// The primary key of an account.
struct Key {
    kind: i16,
    owner: Uuid,
    shard: i16,
}

fn key(account: Account) -> Key {
    let (kind, owner) = match account {
        Account::World(_) => (0, Uuid::nil()),
        Account::Available(owner) => (1, owner.uuid()),
        Account::Held(owner) => (2, owner.uuid()),
        Account::Pending(owner, _) => (3, owner.uuid()),
        Account::Outgoing(owner) => (4, owner.uuid()),
    };
    Key { kind, owner, shard: account.shard().number().into() }
}

fn account(kind: i16, owner: Uuid, shard: i16) -> Result<Account, DbErr> {
    let (owner, shard) = (WorkspaceId::new(owner), shards::read(shard)?);
    let account = match kind {
        0 => Account::World(shard),
        1 => Account::Available(owner),
        2 => Account::Held(owner),
        3 => Account::Pending(owner, shard),
        4 => Account::Outgoing(owner),
        _ => return Err(corrupt("account kind")),
    };
    if account.shard() == shard { Ok(account) } else { Err(corrupt("account shard")) }
}

#[cfg(test)]
mod tests;
