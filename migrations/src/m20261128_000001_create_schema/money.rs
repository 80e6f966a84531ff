//! The ledger and the statements; bookings and what they answer. Amounts and balances are in 1e-8
//! credits.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, integer, integer_null, small_integer, string, text, uuid,
    uuid_null,
};

use super::{NewTable, key};

pub(super) fn tables() -> Vec<NewTable> {
    vec![
        accounts(),
        transfers(),
        shards(),
        statements(),
        statement_lines(),
        grants(),
        coupons(),
        redemptions(),
        requests(),
    ]
}

/// An account and its balance. The kinds are those of `store::money::ledger`. Nobody takes from it but
/// the writer of its shard.
fn accounts() -> NewTable {
    let table = Table::create()
        .table("accounts")
        .col(small_integer("kind"))
        .col(uuid("owner"))
        .col(small_integer("shard"))
        .col(big_integer("units"))
        .primary_key(&mut key(&["kind", "owner", "shard"]))
        .take();
    NewTable { table, then: vec![] }
}

/// Credits that moved from one account to another. Never changed. Each shard numbers from 0 what
/// its accounts give.
fn transfers() -> NewTable {
    let table = Table::create()
        .table("transfers")
        .col(small_integer("shard"))
        .col(big_integer("number"))
        .col(small_integer("from_kind"))
        .col(uuid("from_owner"))
        .col(small_integer("to_kind"))
        .col(uuid("to_owner"))
        .col(small_integer("to_shard"))
        .col(big_integer("units"))
        .col(string("kind"))
        .col(uuid_null("run"))
        // With the run, the attempt that a capture pays.
        .col(integer_null("stage"))
        .col(big_integer_null("idx"))
        .col(integer_null("attempt"))
        // What it answers: a redemption, a top-up or a payout.
        .col(uuid_null("request"))
        .col(big_integer("at_us"))
        .primary_key(&mut key(&["shard", "number"]))
        .take();
    let then = vec![
        // An attempt is paid once: the database says so too.
        "CREATE UNIQUE INDEX transfers_attempt ON transfers (run, stage, idx, attempt, kind)",
        // No request is answered twice: the database says so too.
        "CREATE UNIQUE INDEX transfers_request ON transfers (kind, request) \
         WHERE request IS NOT NULL",
        // What an operator has earned and not been given.
        "CREATE INDEX transfers_earnings ON transfers (to_owner, shard, number) \
         WHERE kind = 'capture'",
    ];
    NewTable { table, then }
}

/// A part of the ledger. There are 256 from the beginning.
fn shards() -> NewTable {
    let table = Table::create()
        .table("shards")
        .col(small_integer("no").primary_key())
        // The last transfer whose earning has been given to its operator; -1 before the first.
        .col(big_integer("released"))
        .take();
    let all = "WITH RECURSIVE numbers(no) AS (SELECT 0 UNION ALL SELECT no + 1 FROM numbers \
               WHERE no < 255) INSERT INTO shards (no, released) SELECT no, -1 FROM numbers";
    NewTable { table, then: vec![all] }
}

/// The end of a workspace's statement: how many lines it has, and the hash and the balance of the
/// last.
fn statements() -> NewTable {
    let table = Table::create()
        .table("statements")
        .col(uuid("owner").primary_key())
        .col(big_integer("lines"))
        .col(string("hash"))
        .col(big_integer("balance"))
        .take();
    NewTable { table, then: vec![] }
}

/// A line of a workspace's statement. Each has the number and the balance after the one before,
/// and a hash that covers that one's.
fn statement_lines() -> NewTable {
    let table = Table::create()
        .table("statement_lines")
        .col(uuid("id").primary_key())
        .col(uuid("owner"))
        .col(big_integer("number"))
        .col(big_integer("at_us"))
        .col(small_integer("kind"))
        // One of the two.
        .col(big_integer_null("credit"))
        .col(big_integer_null("debit"))
        .col(uuid_null("run"))
        .col(uuid_null("job"))
        // JSON: what it belongs to.
        .col(text("related"))
        .col(text("description"))
        .col(big_integer("balance"))
        .col(string("hash"))
        .take();
    let then = vec![
        "CREATE INDEX statement_lines_owner ON statement_lines (owner, id)",
        "CREATE UNIQUE INDEX statement_lines_number ON statement_lines (owner, number)",
        // What was earned and paid out, of one owner.
        "CREATE INDEX statement_lines_payouts ON statement_lines (owner) WHERE kind IN (3, 4, 5)",
    ];
    NewTable { table, then }
}

/// The key of a grant or a charge that was made.
fn grants() -> NewTable {
    let table = Table::create().table("grants").col(string("key").primary_key()).take();
    NewTable { table, then: vec![] }
}

/// A code that gives credits. Only its hash is kept.
fn coupons() -> NewTable {
    let table = Table::create()
        .table("coupons")
        .col(string("hash").primary_key())
        .col(big_integer("units"))
        .col(integer("uses"))
        .col(integer("uses_max"))
        .col(big_integer_null("expires_us"))
        .col(big_integer("created_us"))
        .take();
    NewTable { table, then: vec![] }
}

/// A workspace's use of a coupon.
fn redemptions() -> NewTable {
    let table = Table::create()
        .table("redemptions")
        .col(uuid("id").primary_key())
        .col(string("coupon"))
        .col(uuid("workspace"))
        .col(big_integer("units"))
        .col(big_integer("at_us"))
        .take();
    let once = "CREATE UNIQUE INDEX redemptions_once ON redemptions (coupon, workspace)";
    NewTable { table, then: vec![once] }
}

/// A top-up or a payout that was asked for.
fn requests() -> NewTable {
    let table = Table::create()
        .table("requests")
        .col(uuid("id").primary_key())
        .col(string("kind"))
        .col(uuid("workspace"))
        // The user who asked.
        .col(uuid("asker"))
        // JSON: how much, in credits and in money.
        .col(text("terms"))
        .col(string("state"))
        // What was said with its last change.
        .col(text("note"))
        .col(big_integer("created_us"))
        .col(big_integer("updated_us"))
        .col(big_integer_null("sent_us"))
        .col(big_integer_null("confirmed_us"))
        .take();
    NewTable { table, then: vec!["CREATE INDEX requests_workspace ON requests (workspace, id)"] }
}
