//! Packages, templates and images.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, boolean, integer, text, text_null, uuid};

use super::{NewTable, key};

pub(super) fn tables() -> Vec<NewTable> {
    vec![packages(), templates(), imports(), images()]
}

/// An app or an engine, at one version.
fn packages() -> NewTable {
    let table = Table::create()
        .table("packages")
        .col(uuid("id").primary_key())
        .col(uuid("workspace"))
        .col(text("family"))
        .col(text("name"))
        .col(integer("major"))
        .col(integer("minor"))
        .col(integer("revision"))
        .col(boolean("active"))
        // Every workspace may read it.
        .col(boolean("public"))
        .col(text("digest"))
        // In bytes.
        .col(big_integer("size"))
        // JSON, as are the schema of its params.
        .col(text("manifest"))
        .col(text_null("params_schema"))
        .col(big_integer("created_us"))
        .col(big_integer("updated_us"))
        .take();
    let then = vec![
        "CREATE UNIQUE INDEX packages_by_version \
         ON packages (workspace, family, name, major, minor)",
        "CREATE INDEX packages_by_name ON packages (family, public, name)",
    ];
    NewTable { table, then }
}

/// A partitioner, an app and an assembler under one name.
fn templates() -> NewTable {
    let table = Table::create()
        .table("templates")
        .col(uuid("workspace"))
        .col(text("id"))
        // JSON.
        .col(text("document"))
        // Every workspace may read it.
        .col(boolean("public"))
        .col(big_integer("created_us"))
        .col(big_integer("updated_us"))
        .primary_key(&mut key(&["workspace", "id"]))
        .take();
    NewTable { table, then: vec!["CREATE INDEX templates_by_name ON templates (public, id)"] }
}

/// A name by which a workspace uses a public package or template of another workspace.
fn imports() -> NewTable {
    let table = Table::create()
        .table("imports")
        .col(uuid("workspace"))
        .col(text("family"))
        .col(text("name"))
        // The workspace that publishes it.
        .col(uuid("owner"))
        // A JSON list: the secrets of the importing workspace that it may use.
        .col(text("secrets"))
        .col(big_integer("created_us"))
        .primary_key(&mut key(&["workspace", "family", "name"]))
        .take();
    NewTable { table, then: vec![] }
}

/// A container image that a workspace has pushed.
fn images() -> NewTable {
    let table = Table::create()
        .table("images")
        .col(uuid("workspace"))
        .col(text("reference"))
        // Of its archive, which has so many bytes.
        .col(text("digest"))
        .col(big_integer("size"))
        .col(big_integer("updated_us"))
        .primary_key(&mut key(&["workspace", "reference"]))
        .take();
    NewTable { table, then: vec![] }
}
