//! Coupons, top-ups and payouts; the release of earnings; statements whose lines are chained.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, integer, small_integer, string, text, uuid, uuid_null,
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in columns() {
            manager.alter_table(Table::alter().table(table).add_column(column).take()).await?;
        }
        for table in tables() {
            manager.create_table(table).await?;
        }
        for statement in [
            // No request is answered twice: the database says so too.
            "CREATE UNIQUE INDEX transfers_request ON transfers (kind, request) \
             WHERE request IS NOT NULL",
            // What was earned and paid out, of one owner.
            "CREATE INDEX statement_lines_payouts ON statement_lines (owner) \
             WHERE kind IN (3, 4, 5)",
            "CREATE UNIQUE INDEX statement_lines_number ON statement_lines (owner, number)",
            "CREATE INDEX runs_workspace ON runs (workspace, ended_us)",
            // What the latest runs of a template have cost.
            "CREATE INDEX runs_template ON runs (workspace, template, ended_us)",
            // Cancelled, with nodes that still have to stop.
            "CREATE INDEX runs_ending ON runs (state) WHERE state = 'ending'",
            // What an operator has earned and not been given.
            "CREATE INDEX transfers_earnings ON transfers (to_owner, number) \
             WHERE kind = 'capture'",
            "CREATE INDEX requests_workspace ON requests (workspace, id)",
            "CREATE UNIQUE INDEX redemptions_once ON redemptions (coupon, workspace)",
            // Before the first transfer.
            "INSERT INTO releases (one, through) VALUES (1, -1)",
        ] {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for index in [
            "transfers_request",
            "transfers_earnings",
            "statement_lines_number",
            "statement_lines_payouts",
            "runs_workspace",
            "runs_template",
        ] {
            manager.get_connection().execute_unprepared(&format!("DROP INDEX {index}")).await?;
        }
        for table in ["statements", "coupons", "redemptions", "requests", "releases"] {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        for (table, column) in columns() {
            let name = column.get_column_name();
            manager.alter_table(Table::alter().table(table).drop_column(name).take()).await?;
        }
        Ok(())
    }
}

fn columns() -> [(&'static str, ColumnDef); 8] {
    [
        ("transfers", uuid_null("request")),
        ("statement_lines", big_integer("number").default(0).take()),
        ("statement_lines", small_integer("kind").default(0).take()),
        ("statement_lines", text("related").default("{}").take()),
        ("statement_lines", string("hash").default("").take()),
        ("runs", text("template").default("").take()),
        ("runs", big_integer("cpu_ms").default(0).take()),
        ("runs", big_integer("memory_mib_ms").default(0).take()),
    ]
}

fn tables() -> [TableCreateStatement; 5] {
    let statements = Table::create()
        .table("statements")
        .col(uuid("owner").primary_key())
        .col(big_integer("lines"))
        .col(string("hash"))
        .col(big_integer("balance"))
        .take();
    let coupons = Table::create()
        .table("coupons")
        .col(string("hash").primary_key())
        .col(big_integer("units"))
        .col(integer("uses"))
        .col(integer("uses_max"))
        .col(big_integer_null("expires_us"))
        .col(big_integer("created_us"))
        .take();
    let redemptions = Table::create()
        .table("redemptions")
        .col(uuid("id").primary_key())
        .col(string("coupon"))
        .col(uuid("workspace"))
        .col(big_integer("units"))
        .col(big_integer("at_us"))
        .take();
    let requests = Table::create()
        .table("requests")
        .col(uuid("id").primary_key())
        .col(string("kind"))
        .col(uuid("workspace"))
        .col(uuid("asker"))
        .col(text("terms"))
        .col(string("state"))
        .col(text("note"))
        .col(big_integer("created_us"))
        .col(big_integer("updated_us"))
        .col(big_integer_null("sent_us"))
        .col(big_integer_null("confirmed_us"))
        .take();
    let releases = Table::create()
        .table("releases")
        .col(integer("one").primary_key())
        .col(big_integer("through"))
        .take();
    [statements, coupons, redemptions, requests, releases]
}
