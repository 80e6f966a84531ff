//! Nodes and their operators. An operator is a workspace.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, integer, string, string_null, text, uuid,
};

use super::NewTable;

pub(super) fn tables() -> Vec<NewTable> {
    vec![nodes(), node_tokens(), devices(), node_tallies(), node_windows(), operators()]
}

/// A node that has joined.
fn nodes() -> NewTable {
    let table = Table::create()
        .table("nodes")
        .col(uuid("id").primary_key())
        // Its libp2p peer id.
        .col(string("peer").unique_key())
        .col(uuid("operator"))
        .col(big_integer("joined_us"))
        // From then on its key is refused.
        .col(big_integer_null("removed_us"))
        .take();
    NewTable { table, then: vec![] }
}

/// A token by which one node can join.
fn node_tokens() -> NewTable {
    let table = Table::create()
        .table("node_tokens")
        // SHA-256: the token itself is kept nowhere.
        .col(string("hash").primary_key())
        .col(uuid("operator"))
        .col(big_integer("expires_us"))
        // Who spent it.
        .col(string_null("peer"))
        .take();
    NewTable { table, then: vec![] }
}

/// What a node says of its machine.
fn devices() -> NewTable {
    let table = Table::create()
        .table("devices")
        .col(uuid("node").primary_key())
        // JSON.
        .col(text("device"))
        .take();
    NewTable { table, then: vec![] }
}

/// What a node has done in all.
fn node_tallies() -> NewTable {
    let table = Table::create()
        .table("node_tallies")
        .col(uuid("node").primary_key())
        // Attempts that were paid for, and their price in 1e-8 credits.
        .col(big_integer("tasks"))
        .col(big_integer("earned"))
        .take();
    NewTable { table, then: vec![] }
}

/// How many leases a node may have at once, where that has changed.
fn node_windows() -> NewTable {
    let table = Table::create()
        .table("node_windows")
        .col(uuid("node").primary_key())
        .col(integer("leases"))
        .take();
    NewTable { table, then: vec![] }
}

/// What an operator has shown.
fn operators() -> NewTable {
    let table = Table::create()
        .table("operators")
        .col(uuid("operator").primary_key())
        // Tasks of its nodes that were accepted, and checks in which its results agreed.
        .col(integer("accepted"))
        .col(integer("agreed"))
        // Until when it gets no tasks.
        .col(big_integer_null("barred_us"))
        .take();
    NewTable { table, then: vec![] }
}
