//! Workspaces and users, and what users sign in with.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, boolean, integer, text, text_null, uuid,
};

use super::{NewTable, key};

pub(super) fn tables() -> Vec<NewTable> {
    vec![
        workspaces(),
        users(),
        members(),
        invitations(),
        api_keys(),
        codes(),
        access_codes(),
        ended_tokens(),
    ]
}

/// A tenant.
fn workspaces() -> NewTable {
    let table = Table::create()
        .table("workspaces")
        .col(uuid("id").primary_key())
        .col(text("name"))
        .col(big_integer("created_us"))
        .take();
    NewTable { table, then: vec![] }
}

/// Somebody who signs in.
fn users() -> NewTable {
    let table = Table::create()
        .table("users")
        .col(uuid("id").primary_key())
        .col(text("username"))
        .col(text("email"))
        .col(text("first_name"))
        .col(text("last_name"))
        .col(text("contact"))
        .col(big_integer("created_us"))
        .col(big_integer_null("last_login_us"))
        .take();
    // The first user of a server may have no e-mail address.
    let by_email = "CREATE UNIQUE INDEX users_by_email ON users (email) WHERE email <> ''";
    NewTable { table, then: vec![by_email] }
}

/// A user's role in a workspace.
fn members() -> NewTable {
    let table = Table::create()
        .table("members")
        .col(uuid("workspace"))
        .col(uuid("user_id"))
        .col(text("role"))
        .col(big_integer("since_us"))
        .primary_key(&mut key(&["workspace", "user_id"]))
        .take();
    NewTable { table, then: vec!["CREATE INDEX members_by_user ON members (user_id)"] }
}

/// An address that may become a member, in which role.
fn invitations() -> NewTable {
    let table = Table::create()
        .table("invitations")
        .col(uuid("id").primary_key())
        .col(uuid("workspace"))
        .col(text("email"))
        .col(text("role"))
        .col(big_integer("at_us"))
        .take();
    let then = vec![
        "CREATE UNIQUE INDEX invitations_by_workspace ON invitations (workspace, email)",
        "CREATE INDEX invitations_by_email ON invitations (email)",
    ];
    NewTable { table, then }
}

/// A key of the API, or of a sign-in.
fn api_keys() -> NewTable {
    let table = Table::create()
        .table("api_keys")
        .col(uuid("id").primary_key())
        .col(uuid("workspace"))
        .col(uuid("user_id"))
        .col(text("name"))
        .col(text("hash").unique_key())
        // NULL for all that the holder's role allows.
        .col(text_null("scopes"))
        // It stands behind a sign-in.
        .col(boolean("session"))
        .col(boolean("revoked"))
        .col(big_integer("issued_us"))
        .col(big_integer_null("expires_us"))
        .col(big_integer_null("last_used_us"))
        .take();
    let by_member = "CREATE INDEX api_keys_by_member ON api_keys (workspace, user_id)";
    NewTable { table, then: vec![by_member] }
}

/// A one-time code that was sent to an address.
fn codes() -> NewTable {
    let table = Table::create()
        .table("codes")
        .col(text("nonce").primary_key())
        .col(text("email"))
        .col(text("hash"))
        // A profile in JSON, where the code also signs up.
        .col(text_null("profile"))
        // The hash of the access code with which it was asked for, where its uses are counted.
        .col(text_null("access"))
        .col(integer("tries"))
        .col(big_integer("expires_us"))
        .take();
    NewTable { table, then: vec![] }
}

/// How often a code that allows signing up was used.
fn access_codes() -> NewTable {
    let table = Table::create()
        .table("access_codes")
        .col(text("hash").primary_key())
        .col(integer("uses"))
        .take();
    NewTable { table, then: vec![] }
}

/// A token that was ended before its time, kept until that time.
fn ended_tokens() -> NewTable {
    let table = Table::create()
        .table("ended_tokens")
        .col(uuid("id").primary_key())
        .col(big_integer("expires_us"))
        .take();
    NewTable { table, then: vec![] }
}
