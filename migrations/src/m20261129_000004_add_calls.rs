//! Calls: when a task is tried again, what each attempt of a call gave, and jobs whose names differ.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, binary, boolean, integer, small_integer_null, text_null, uuid,
};

#[derive(DeriveMigrationName)]
pub struct Migration;

const STATEMENTS: [&str; 3] = [
    "ALTER TABLE tasks ADD COLUMN not_before_us BIGINT",
    "ALTER TABLE jobs ADD COLUMN scope VARCHAR",
    "CREATE UNIQUE INDEX jobs_scope_name ON jobs (workspace, scope, name) \
     WHERE scope IS NOT NULL AND deleted_us IS NULL",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        let mut key = Index::create();
        key.col("run").col("stage").col("idx").col("attempt").primary();
        let table = Table::create()
            .table("call_answers")
            .col(uuid("run"))
            .col(integer("stage"))
            .col(big_integer("idx"))
            .col(integer("attempt"))
            .col(big_integer("began_us"))
            .col(big_integer("took_ms"))
            .col(small_integer_null("status"))
            // Postcard of the names and values.
            .col(binary("headers"))
            // The beginning of the body.
            .col(binary("body"))
            .col(boolean("truncated"))
            .col(text_null("error"))
            // When the next attempt is due.
            .col(big_integer_null("next_us"))
            .primary_key(&mut key)
            .take();
        manager.create_table(table).await
    }
}
