//! Calls: when a task is tried again, and what each attempt of a call gave.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, binary, boolean, integer, small_integer_null, text_null, uuid,
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection.execute_unprepared("ALTER TABLE tasks ADD COLUMN not_before_us BIGINT").await?;
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
