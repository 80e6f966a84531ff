//! What customers see of tasks: when they were received and ran, the attempts before the last,
//! and the machines they ran on.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, binary_null, integer, text, text_null, uuid,
};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TIMES: [&str; 2] = ["received_us", "running_us"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // SQLite adds one column at a time.
        for time in TIMES {
            let add = Table::alter().table("tasks").add_column(big_integer_null(time)).take();
            manager.alter_table(add).await?;
        }
        let attempts = Table::create()
            .table("attempts")
            .col(uuid("run"))
            .col(integer("stage"))
            .col(big_integer("idx"))
            .col(integer("attempt"))
            .col(uuid("node"))
            .col(big_integer("leased_us"))
            .col(big_integer_null("received_us"))
            .col(big_integer_null("running_us"))
            .col(big_integer("ended_us"))
            .col(big_integer("price"))
            .col(binary_null("receipt"))
            .col(binary_null("signature"))
            .col(text_null("error"))
            .primary_key(Index::create().col("run").col("stage").col("idx").col("attempt"))
            .take();
        manager.create_table(attempts).await?;
        let devices = Table::create()
            .table("devices")
            .col(uuid("node").primary_key())
            .col(text("device"))
            .take();
        manager.create_table(devices).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["devices", "attempts"] {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        for time in TIMES {
            let drop = Table::alter().table("tasks").drop_column(time).take();
            manager.alter_table(drop).await?;
        }
        Ok(())
    }
}
