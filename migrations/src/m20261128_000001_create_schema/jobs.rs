//! What customers order.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, small_integer, text, text_null, uuid, uuid_null,
};

use super::{NewTable, key};

pub(super) fn tables() -> Vec<NewTable> {
    vec![jobs(), creates()]
}

/// An order: a draft, until it is claimed for its run.
fn jobs() -> NewTable {
    let table = Table::create()
        .table("jobs")
        .col(uuid("id").primary_key())
        .col(uuid("workspace"))
        .col(text("name"))
        .col(text("description"))
        .col(text("template"))
        // JSON, as are the next three.
        .col(text_null("source"))
        .col(text_null("destination"))
        .col(text("params"))
        .col(text("config"))
        .col(small_integer("priority"))
        // JSON lists of texts.
        .col(text("whitelist"))
        .col(text("blacklist"))
        .col(text("tags"))
        // When its run begins, where that is not at once.
        .col(big_integer_null("start_us"))
        // Of the uploaded file: its bytes and its version in the bucket once it was called
        // complete, and the digest of what was received last.
        .col(big_integer_null("upload_bytes"))
        .col(text_null("upload_version"))
        .col(text_null("received"))
        // Counts the changes, so that a run is made from the draft that was read.
        .col(big_integer("draft"))
        .col(uuid_null("run"))
        .col(big_integer("created_us"))
        .col(big_integer_null("submitted_us"))
        .col(big_integer_null("deleted_us"))
        .take();
    let by_age = "CREATE INDEX jobs_by_age ON jobs (workspace, created_us, id)";
    NewTable { table, then: vec![by_age] }
}

/// A request with an `Idempotency-Key` that makes something: what was asked for, and the id of
/// what it makes.
fn creates() -> NewTable {
    let table = Table::create()
        .table("creates")
        .col(uuid("workspace"))
        .col(text("name"))
        .col(text("digest"))
        .col(uuid("made"))
        .col(big_integer("at_us"))
        .primary_key(&mut key(&["workspace", "name"]))
        .take();
    NewTable { table, then: vec![] }
}
