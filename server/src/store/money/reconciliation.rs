//! The books, added up again from the rows that they are made of.

mod lines;

use sea_orm::{
    AccessMode, ConnectionTrait, DbBackend, DbErr, FromQueryResult, IsolationLevel, Statement,
    TransactionOptions,
};

use crate::store::Db;

/// What was looked at, and how many rows contradict each claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciliation {
    pub accounts: u64,
    pub transfers: u64,
    pub checks: Vec<(&'static str, u64)>,
}

/// What must be so, and a query that counts what is not. A run that has ended and was taken up
/// again has a line of each time.
const CHECKS: [(&str, &str); 14] = [
    (
        "every balance is the sum of its transfers",
        "SELECT COUNT(*) AS n FROM (SELECT kind, owner, shard, SUM(units) AS rest FROM (\
         SELECT kind, owner, shard, units FROM accounts \
         UNION ALL SELECT from_kind, from_owner, shard, units FROM transfers \
         UNION ALL SELECT to_kind, to_owner, to_shard, -units FROM transfers) AS moved \
         GROUP BY kind, owner, shard) AS sums WHERE rest <> 0",
    ),
    (
        "no transfer is missing between the first and the last of its shard",
        "SELECT COUNT(*) AS n FROM (SELECT shard FROM transfers GROUP BY shard \
         HAVING COUNT(*) <> MAX(number) + 1) AS gaps",
    ),
    (
        "all accounts together are zero",
        "SELECT CASE WHEN COALESCE(SUM(units), 0) = 0 THEN 0 ELSE 1 END AS n FROM accounts",
    ),
    (
        "nobody but the world owes",
        "SELECT COUNT(*) AS n FROM accounts WHERE kind <> 0 AND units < 0",
    ),
    (
        "what a workspace has on hold is what its runs hold",
        "SELECT COUNT(*) AS n FROM (SELECT owner, SUM(units) AS rest FROM (\
         SELECT owner, units FROM accounts WHERE kind = 2 \
         UNION ALL SELECT workspace, -held FROM runs WHERE held <> 0) AS holds \
         GROUP BY owner) AS sums WHERE rest <> 0",
    ),
    (
        "every attempt was paid its price, once, and nothing else was",
        "SELECT COUNT(*) AS n FROM (SELECT run, stage, idx, attempt, SUM(units) AS rest FROM (\
         SELECT run, stage, idx, attempt, price AS units FROM tasks WHERE price <> 0 \
         UNION ALL SELECT run, stage, idx, attempt, price FROM attempts WHERE price <> 0 \
         UNION ALL SELECT run, stage, idx, attempt, -units FROM transfers \
         WHERE kind = 'capture') AS paid \
         GROUP BY run, stage, idx, attempt) AS sums WHERE rest <> 0",
    ),
    (
        "every run cost what its attempts were paid",
        "SELECT COUNT(*) AS n FROM (SELECT run, SUM(units) AS rest FROM (\
         SELECT id AS run, captured AS units FROM runs \
         UNION ALL SELECT run, -units FROM transfers WHERE kind = 'capture') AS cost \
         GROUP BY run) AS sums WHERE rest <> 0",
    ),
    (
        "every run that has ended is billed for what it cost",
        "SELECT COUNT(*) AS n FROM runs WHERE ended_us IS NOT NULL AND billed <> captured",
    ),
    (
        "every run is billed for what its lines of the statement say",
        "SELECT COUNT(*) AS n FROM (SELECT run, SUM(units) AS rest FROM (\
         SELECT id AS run, billed AS units FROM runs \
         UNION ALL SELECT run, -debit FROM statement_lines WHERE run IS NOT NULL) AS cost \
         GROUP BY run) AS sums WHERE rest <> 0",
    ),
    (
        "every statement ends with its last line",
        "SELECT COUNT(*) AS n FROM (SELECT owner, MAX(number) AS lines FROM statement_lines \
         GROUP BY owner) AS last LEFT JOIN statements s ON s.owner = last.owner \
         LEFT JOIN statement_lines l ON l.owner = last.owner AND l.number = last.lines \
         WHERE s.owner IS NULL OR s.lines <> last.lines OR s.hash <> l.hash \
         OR s.balance <> l.balance",
    ),
    (
        "every statement ends with what its wallet has and runs have been charged without a line",
        "SELECT COUNT(*) AS n FROM (SELECT owner, SUM(units) AS rest FROM (\
         SELECT owner, units FROM accounts WHERE kind IN (1, 2) \
         UNION ALL SELECT workspace, captured - billed FROM runs \
         UNION ALL SELECT owner, -balance FROM statements) AS known \
         GROUP BY owner) AS sums WHERE rest <> 0",
    ),
    (
        "what is on its way out is what open payouts ask for",
        // Their amounts are in their terms; the transfers that open and close them are counted.
        "SELECT COUNT(*) AS n FROM requests r LEFT JOIN (SELECT request, \
         SUM(CASE WHEN kind = 'payout' THEN 1 ELSE -1 END) AS open FROM transfers \
         WHERE kind IN ('payout', 'return', 'paid') GROUP BY request) AS t ON t.request = r.id \
         WHERE r.kind = 'payout' AND COALESCE(t.open, -1) <> \
         CASE WHEN r.state IN ('CONFIRMED', 'BOUNCED', 'FAILED') THEN 0 ELSE 1 END",
    ),
    (
        "confirmed top-ups, and no others, have brought credits",
        "SELECT COUNT(*) AS n FROM requests r LEFT JOIN transfers t \
         ON t.request = r.id AND t.kind = 'top_up' WHERE r.kind = 'top_up' \
         AND (r.state = 'CONFIRMED') <> (t.number IS NOT NULL)",
    ),
    (
        "coupons were used as often as they were redeemed, and brought their amount",
        "SELECT COUNT(*) AS n FROM coupons c LEFT JOIN (SELECT d.coupon, COUNT(*) AS uses, \
         SUM(COALESCE(t.units, 0)) AS units FROM redemptions d LEFT JOIN transfers t \
         ON t.request = d.id AND t.kind = 'coupon' GROUP BY d.coupon) AS r ON r.coupon = c.hash \
         WHERE COALESCE(r.uses, 0) <> c.uses OR COALESCE(r.units, 0) <> c.uses * c.units",
    ),
];

/// Reads everything at one instant, beside whatever goes on.
pub async fn reconcile(db: &Db) -> Result<Reconciliation, DbErr> {
    let mut options = TransactionOptions::default();
    // SQLite's transactions see one instant by themselves.
    if db.get_database_backend() == DbBackend::Postgres {
        options.isolation_level = Some(IsolationLevel::RepeatableRead);
        options.access_mode = Some(AccessMode::ReadOnly);
    }
    let tx = db.begin_with_options(options).await?;
    let mut checks = Vec::with_capacity(CHECKS.len() + 2);
    for (claim, query) in CHECKS {
        checks.push((claim, count(&tx, query).await?));
    }
    checks.extend(lines::look(&tx).await?);
    let accounts = count(&tx, "SELECT COUNT(*) AS n FROM accounts").await?;
    let transfers = count(&tx, "SELECT COUNT(*) AS n FROM transfers").await?;
    tx.commit().await?;
    Ok(Reconciliation { accounts, transfers, checks })
}

async fn count(db: &impl ConnectionTrait, query: &str) -> Result<u64, DbErr> {
    #[derive(FromQueryResult)]
    struct Count {
        n: i64,
    }
    // An integer constant is shorter than a count.
    let query = format!("SELECT CAST(n AS BIGINT) AS n FROM ({query}) AS counted");
    let statement = Statement::from_string(db.get_database_backend(), query);
    let found = Count::find_by_statement(statement).one(db).await?;
    Ok(found.map_or(0, |count| count.n.unsigned_abs()))
}

#[cfg(test)]
mod tests;
