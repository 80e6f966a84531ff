//! What workspaces keep sealed.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, binary, boolean, text, text_null, uuid,
};

use super::{NewTable, key};

pub(super) fn tables() -> Vec<NewTable> {
    vec![secrets()]
}

/// A secret; its value is sealed with the server's master key.
fn secrets() -> NewTable {
    let table = Table::create()
        .table("secrets")
        .col(uuid("workspace"))
        .col(text("id"))
        // What it opens, and the only place that it may be sent to, if there is one.
        .col(text("kind"))
        .col(text_null("bound_to"))
        .col(text("name"))
        .col(text("access_key"))
        .col(binary("sealed"))
        // A JSON object of texts.
        .col(text("params"))
        // It is left out of lists.
        .col(boolean("hidden"))
        .col(big_integer_null("expires_us"))
        .col(big_integer("created_us"))
        .primary_key(&mut key(&["workspace", "id"]))
        .take();
    NewTable { table, then: vec![] }
}
