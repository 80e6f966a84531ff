//! What is kept in the bucket, and what is stored of the storing itself.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, small_integer, text, uuid};

use super::{NewTable, key};

pub(super) fn tables() -> Vec<NewTable> {
    vec![holdings(), batches()]
}

/// Something that a workspace keeps in the bucket: an object, or all data of a run.
fn holdings() -> NewTable {
    let table = Table::create()
        .table("holdings")
        .col(uuid("workspace"))
        // The object's key, or the folder of a run.
        .col(text("path"))
        .col(big_integer("bytes"))
        .col(big_integer("updated_us"))
        .primary_key(&mut key(&["workspace", "path"]))
        .take();
    NewTable { table, then: vec![] }
}

/// The number of the last batch that the coordinator has committed, in the only row.
fn batches() -> NewTable {
    let table = Table::create()
        .table("batches")
        .col(small_integer("id").primary_key())
        .col(big_integer("number"))
        .take();
    NewTable { table, then: vec!["INSERT INTO batches (id, number) VALUES (1, 0)"] }
}
