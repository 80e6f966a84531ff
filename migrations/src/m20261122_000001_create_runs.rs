//! Runs, their tasks and data; the ledger; nodes.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, binary, binary_null, boolean, integer, integer_null,
    small_integer, string, string_null, text, text_null, uuid, uuid_null,
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [runs(), tasks(), ledger(), nodes()];
        for table in tables.into_iter().flatten() {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            "runs",
            "plans",
            "stages",
            "chunk_tables",
            "tasks",
            "task_logs",
            "results",
            "accounts",
            "transfers",
            "statement_lines",
            "grants",
            "nodes",
            "node_tokens",
            "node_tallies",
            "node_windows",
            "operators",
        ];
        for table in tables {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

fn key(columns: &[&'static str]) -> IndexCreateStatement {
    let mut key = Index::create();
    for column in columns {
        key.col(*column);
    }
    key.primary().take()
}

fn runs() -> Vec<TableCreateStatement> {
    let runs = Table::create()
        .table("runs")
        .col(uuid("id").primary_key())
        .col(uuid("job"))
        .col(uuid("workspace"))
        .col(text("name"))
        .col(string("plan"))
        .col(text("terms"))
        .col(big_integer_null("timeout_secs"))
        .col(uuid_null("parent"))
        .col(big_integer_null("parent_stage"))
        .col(big_integer("task_cpu_millis"))
        .col(big_integer("task_memory_mib"))
        .col(big_integer("task_timeout_secs"))
        .col(string("state"))
        .col(string_null("phase"))
        .col(text("times"))
        .col(big_integer("next_stage"))
        .col(big_integer_null("total"))
        .col(big_integer_null("found"))
        .col(big_integer("done"))
        .col(big_integer("held"))
        .col(big_integer("captured"))
        .col(big_integer("empty"))
        .col(text_null("warning"))
        .col(text_null("error"))
        .col(big_integer("started_us"))
        .col(big_integer_null("ended_us"))
        .col(boolean("purged"))
        .take();
    let chunk_tables = Table::create()
        .table("chunk_tables")
        .col(uuid("run"))
        .col(integer("block"))
        .col(binary("chunks"))
        .primary_key(&mut key(&["run", "block"]))
        .take();
    let plans =
        Table::create().table("plans").col(string("digest").primary_key()).col(text("body")).take();
    let stages = Table::create()
        .table("stages")
        .col(uuid("run"))
        .col(integer("no"))
        .col(integer("block"))
        .col(integer_null("parent"))
        .col(big_integer_null("item"))
        .col(binary("cursor"))
        .col(big_integer("opened_us"))
        .col(big_integer_null("ended_us"))
        .col(boolean("cut_off"))
        .primary_key(&mut key(&["run", "no"]))
        .take();
    vec![runs, chunk_tables, plans, stages]
}

fn tasks() -> Vec<TableCreateStatement> {
    let tasks = Table::create()
        .table("tasks")
        .col(uuid("run"))
        .col(integer("stage"))
        .col(big_integer("idx"))
        .col(small_integer("state"))
        .col(integer("attempt"))
        .col(integer("failures"))
        .col(integer("losses"))
        .col(uuid_null("node"))
        .col(big_integer_null("leased_us"))
        .col(big_integer_null("ended_us"))
        .col(big_integer("price"))
        .col(binary_null("receipt"))
        .col(binary_null("signature"))
        .col(text_null("error"))
        .primary_key(&mut key(&["run", "stage", "idx"]))
        .take();
    let task_logs = Table::create()
        .table("task_logs")
        .col(uuid("run"))
        .col(integer("stage"))
        .col(big_integer("idx"))
        .col(integer("attempt"))
        .col(integer("first"))
        .col(binary("lines"))
        .primary_key(&mut key(&["run", "stage", "idx", "attempt", "first"]))
        .take();
    let results = Table::create()
        .table("results")
        .col(uuid("run"))
        .col(string("name"))
        .col(big_integer("size"))
        .col(text_null("blob"))
        .col(text_null("digest"))
        .primary_key(&mut key(&["run", "name"]))
        .take();
    vec![tasks, task_logs, results]
}

fn ledger() -> Vec<TableCreateStatement> {
    let accounts = Table::create()
        .table("accounts")
        .col(small_integer("kind"))
        .col(uuid("owner"))
        .col(big_integer("units"))
        .primary_key(&mut key(&["kind", "owner"]))
        .take();
    let transfers = Table::create()
        .table("transfers")
        .col(big_integer("number").primary_key())
        .col(small_integer("from_kind"))
        .col(uuid("from_owner"))
        .col(small_integer("to_kind"))
        .col(uuid("to_owner"))
        .col(big_integer("units"))
        .col(string("kind"))
        .col(uuid_null("run"))
        .col(integer_null("stage"))
        .col(big_integer_null("idx"))
        .col(integer_null("attempt"))
        .col(big_integer("at_us"))
        .take();
    let lines = Table::create()
        .table("statement_lines")
        .col(uuid("id").primary_key())
        .col(uuid("owner"))
        .col(big_integer("at_us"))
        .col(big_integer_null("credit"))
        .col(big_integer_null("debit"))
        .col(uuid_null("run"))
        .col(uuid_null("job"))
        .col(text("description"))
        .col(big_integer("balance"))
        .take();
    let grants = Table::create().table("grants").col(string("key").primary_key()).take();
    vec![accounts, transfers, lines, grants]
}

fn nodes() -> Vec<TableCreateStatement> {
    let nodes = Table::create()
        .table("nodes")
        .col(uuid("id").primary_key())
        .col(string("peer").unique_key())
        .col(uuid("operator"))
        .col(big_integer("joined_us"))
        .col(big_integer_null("removed_us"))
        .take();
    let tallies = Table::create()
        .table("node_tallies")
        .col(uuid("node").primary_key())
        .col(big_integer("tasks"))
        .col(big_integer("earned"))
        .take();
    let tokens = Table::create()
        .table("node_tokens")
        .col(string("hash").primary_key())
        .col(uuid("operator"))
        .col(big_integer("expires_us"))
        .col(string_null("peer"))
        .take();
    let windows = Table::create()
        .table("node_windows")
        .col(uuid("node").primary_key())
        .col(integer("leases"))
        .take();
    let operators = Table::create()
        .table("operators")
        .col(uuid("operator").primary_key())
        .col(integer("accepted"))
        .col(integer("agreed"))
        .col(big_integer_null("barred_us"))
        .take();
    vec![nodes, tallies, tokens, windows, operators]
}

fn indexes() -> Vec<IndexCreateStatement> {
    vec![
        Index::create().name("runs_job").table("runs").col("job").take(),
        Index::create().name("runs_ended").table("runs").col("purged").col("ended_us").take(),
        // An attempt is paid once: the database says so too.
        Index::create()
            .name("transfers_attempt")
            .table("transfers")
            .col("run")
            .col("stage")
            .col("idx")
            .col("attempt")
            .col("kind")
            .unique()
            .take(),
        Index::create()
            .name("statement_lines_owner")
            .table("statement_lines")
            .col("owner")
            .col("id")
            .take(),
    ]
}
