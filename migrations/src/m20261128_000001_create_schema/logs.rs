//! What containers wrote, and their nodes around them: recent lines in the database, the rest in
//! segments, which are objects of the bucket.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, binary, integer, small_integer, string, uuid};

use super::{NewTable, key};

pub(super) fn tables() -> Vec<NewTable> {
    vec![tail(), segments(), numbers()]
}

/// Lines of an attempt that came together.
fn tail() -> NewTable {
    let table = Table::create()
        .table("log_tail")
        .col(uuid("run"))
        // Rising over all runs, in the order in which they came.
        .col(big_integer("number"))
        .col(integer("stage"))
        .col(big_integer("idx"))
        .col(integer("attempt"))
        // The number of the first of these lines in their attempt, and of the one after the last.
        .col(integer("first"))
        .col(integer("next"))
        // Of their text.
        .col(big_integer("bytes"))
        // Postcard.
        .col(binary("lines"))
        .primary_key(&mut key(&["run", "number"]))
        .take();
    NewTable { table, then: vec![] }
}

/// An object of the bucket with batches of a run's lines that follow one another.
fn segments() -> NewTable {
    let table = Table::create()
        .table("log_segments")
        .col(uuid("run"))
        .col(big_integer("seq"))
        // The numbers of its first batch and its last.
        .col(big_integer("from_number"))
        .col(big_integer("to_number"))
        // The times of its lines.
        .col(big_integer("from_us"))
        .col(big_integer("to_us"))
        .col(big_integer("lines"))
        // Of their text, and of the object.
        .col(big_integer("bytes"))
        .col(big_integer("size"))
        .col(string("digest"))
        // Postcard: whose lines it has, and how far their logs go by then.
        .col(binary("ends"))
        .primary_key(&mut key(&["run", "seq"]))
        .take();
    NewTable { table, then: vec![] }
}

/// The last number that a batch of lines was given.
fn numbers() -> NewTable {
    let table = Table::create()
        .table("log_numbers")
        .col(small_integer("id").primary_key())
        .col(big_integer("last"))
        .take();
    NewTable { table, then: vec!["INSERT INTO log_numbers (id, last) VALUES (1, 0)"] }
}
