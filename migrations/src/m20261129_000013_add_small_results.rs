//! The bytes of small results, which came with the receipts of their tasks.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, binary, integer, uuid};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut key = Index::create();
        key.col("run").col("stage").col("idx").primary();
        let table = Table::create()
            .table("small_results")
            .col(uuid("run"))
            .col(integer("stage"))
            .col(big_integer("idx"))
            // Postcard of each result's digest and bytes.
            .col(binary("contents"))
            .primary_key(&mut key)
            .take();
        manager.create_table(table).await
    }
}
