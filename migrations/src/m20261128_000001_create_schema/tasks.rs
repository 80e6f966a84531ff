//! Tasks and their attempts. A task has a row from the moment it is first handed out.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, binary_null, integer, small_integer, text_null, uuid, uuid_null,
};

use super::{NewTable, key};

pub(super) fn tables() -> Vec<NewTable> {
    vec![tasks(), attempts()]
}

/// A task, with its latest attempt.
fn tasks() -> NewTable {
    let table = Table::create()
        .table("tasks")
        .col(uuid("run"))
        .col(integer("stage"))
        .col(big_integer("idx"))
        .col(small_integer("state"))
        .col(integer("attempt"))
        // Attempts that failed by the customer's fault, and those that were lost.
        .col(integer("failures"))
        .col(integer("losses"))
        // Who holds it, or held it last.
        .col(uuid_null("node"))
        .col(big_integer_null("leased_us"))
        .col(big_integer_null("received_us"))
        .col(big_integer_null("running_us"))
        .col(big_integer_null("ended_us"))
        // In 1e-8 credits.
        .col(big_integer("price"))
        // What its node said at its end, as it was sent.
        .col(binary_null("receipt"))
        .col(binary_null("signature"))
        .col(text_null("error"))
        .primary_key(&mut key(&["run", "stage", "idx"]))
        .take();
    NewTable { table, then: vec![] }
}

/// An attempt that has ended and after which its task went on with another.
fn attempts() -> NewTable {
    let table = Table::create()
        .table("attempts")
        .col(uuid("run"))
        .col(integer("stage"))
        .col(big_integer("idx"))
        .col(integer("attempt"))
        .col(uuid("node"))
        .col(big_integer("leased_us"))
        .col(big_integer_null("received_us"))
        .col(big_integer_null("running_us"))
        .col(big_integer("ended_us"))
        // In 1e-8 credits.
        .col(big_integer("price"))
        .col(binary_null("receipt"))
        .col(binary_null("signature"))
        .col(text_null("error"))
        .primary_key(&mut key(&["run", "stage", "idx", "attempt"]))
        .take();
    NewTable { table, then: vec![] }
}
