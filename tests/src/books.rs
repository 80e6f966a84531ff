//! The ledger, added up again from the database by somebody else's arithmetic.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};
use sea_orm::prelude::Uuid;
use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, DbBackend, IsolationLevel, QueryResult,
    Statement, TransactionTrait as _,
};

const WORLD: i16 = 0;
const HELD: i16 = 2;

/// Opens a server's SQLite file to read it.
pub async fn open(database: &Path) -> Result<DatabaseConnection> {
    Ok(Database::connect(format!("sqlite://{}?mode=ro", database.display())).await?)
}

/// Checks that the money adds up, however the server got here: transfers make the balances, only
/// the world owes, each attempt is paid once and as its row says, and a run's line is the sum of
/// its attempts. All is read as it was at one instant: the server may still be at work.
pub async fn check(db: &DatabaseConnection) -> Result<()> {
    // Transactions of SQLite are always that.
    let is_sqlite = db.get_database_backend() == DbBackend::Sqlite;
    let isolation = (!is_sqlite).then_some(IsolationLevel::RepeatableRead);
    let snapshot = db.begin_with_config(isolation, None).await?;
    check_balances(&snapshot).await?;
    check_tasks(&snapshot).await?;
    check_runs(&snapshot).await
}

async fn check_balances(db: &impl ConnectionTrait) -> Result<()> {
    let mut sums: BTreeMap<(i16, Uuid, i16), i64> = BTreeMap::new();
    let sides = "SELECT from_kind AS kind, from_owner AS owner, shard, units, -units AS added \
            FROM transfers \
        UNION ALL SELECT to_kind, to_owner, to_shard, units, units FROM transfers";
    for row in rows(db, sides).await? {
        let units: i64 = row.try_get("", "units")?;
        ensure!(units >= 0, "a transfer of {units} units");
        let added: i64 = row.try_get("", "added")?;
        *sums.entry(account(&row)?).or_default() += added;
    }
    let mut total = 0;
    for row in rows(db, "SELECT kind, owner, shard, units FROM accounts").await? {
        let account = account(&row)?;
        let (kind, units): (i16, i64) = (account.0, row.try_get("", "units")?);
        let sum = sums.remove(&account).unwrap_or(0);
        ensure!(units == sum, "account kind {kind} shows {units} units, its transfers are {sum}");
        ensure!(kind == WORLD || units >= 0, "account kind {kind} owes {units} units");
        total += units;
    }
    sums.retain(|_, units| *units != 0);
    ensure!(sums.is_empty(), "transfers of accounts that are not stored: {sums:?}");
    ensure!(total == 0, "all accounts together are {total} units");
    Ok(())
}

/// The key of an account.
fn account(row: &QueryResult) -> Result<(i16, Uuid, i16)> {
    Ok((row.try_get("", "kind")?, row.try_get("", "owner")?, row.try_get("", "shard")?))
}

/// Each attempt has one capture of its price, and nothing else has.
async fn check_tasks(db: &impl ConnectionTrait) -> Result<()> {
    let priced = "SELECT run, stage, idx, attempt, price FROM tasks \
        UNION ALL SELECT run, stage, idx, attempt, price FROM attempts";
    let same = "p.run = c.run AND p.stage = c.stage AND p.idx = c.idx AND p.attempt = c.attempt";
    let wrong = format!(
        "SELECT count(*) AS n FROM transfers c WHERE c.kind = 'capture' AND NOT EXISTS \
        (SELECT 1 FROM ({priced}) p WHERE {same} AND p.price = c.units)"
    );
    ensure!(count(db, &wrong).await? == 0, "captures that no attempt accounts for");
    let twice = "SELECT count(*) AS n FROM (SELECT run FROM transfers WHERE kind = 'capture' \
        GROUP BY run, stage, idx, attempt HAVING count(*) > 1) t";
    ensure!(count(db, twice).await? == 0, "attempts that were paid twice");
    let unpaid = format!(
        "SELECT count(*) AS n FROM ({priced}) p WHERE p.price > 0 AND NOT EXISTS \
        (SELECT 1 FROM transfers c WHERE c.kind = 'capture' AND {same})"
    );
    ensure!(count(db, &unpaid).await? == 0, "attempts with a price that was not paid");
    Ok(())
}

/// What an ended run took is what its tasks cost and what its line says; it holds nothing.
async fn check_runs(db: &impl ConnectionTrait) -> Result<()> {
    let sums = "SELECT r.state, r.captured, r.held, \
        CAST(coalesce((SELECT sum(price) FROM tasks t WHERE t.run = r.id), 0) \
            + coalesce((SELECT sum(price) FROM attempts a WHERE a.run = r.id), 0) AS BIGINT) \
            AS prices, \
        CAST(coalesce((SELECT sum(debit) FROM statement_lines l WHERE l.run = r.id), 0) AS BIGINT) \
            AS debits, \
        CAST(coalesce((SELECT sum(CASE WHEN to_kind = 2 THEN units ELSE -units END) \
            FROM transfers x WHERE x.run = r.id AND (to_kind = 2 OR from_kind = 2)), 0) AS BIGINT) \
            AS holds \
        FROM runs r";
    let mut held = 0;
    for row in rows(db, sums).await? {
        let number = |name: &str| row.try_get::<i64>("", name);
        let state: String = row.try_get("", "state")?;
        ensure!(number("captured")? == number("prices")?, "a run took more than its attempts cost");
        ensure!(number("held")? == number("holds")?, "a run holds what no transfer explains");
        if ["succeeded", "failed", "cancelled"].contains(&state.as_str()) {
            ensure!(number("held")? == 0, "an ended run holds {} units", number("held")?);
            ensure!(
                number("debits")? == number("captured")?,
                "the wallet's line says {}, the tasks cost {}",
                number("debits")?,
                number("captured")?
            );
        }
        held += number("held")?;
    }
    let accounts = format!(
        "SELECT CAST(coalesce(sum(units), 0) AS BIGINT) AS n FROM accounts WHERE kind = {HELD}"
    );
    ensure!(count(db, &accounts).await? == held, "the held accounts are not what runs hold");
    Ok(())
}

pub async fn count(db: &impl ConnectionTrait, sql: &str) -> Result<i64> {
    let found = rows(db, sql).await?;
    let row = found.first().ok_or_else(|| anyhow::anyhow!("no row"))?;
    Ok(row.try_get("", "n")?)
}

async fn rows(db: &impl ConnectionTrait, sql: &str) -> Result<Vec<QueryResult>> {
    Ok(db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await?)
}
