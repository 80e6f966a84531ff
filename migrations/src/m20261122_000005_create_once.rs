//! Creates that were named by their caller, so that a repeated one makes nothing twice.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("creates")
            .col(ColumnDef::new("workspace_id").uuid().not_null())
            .col(ColumnDef::new("name").text().not_null())
            .col(ColumnDef::new("digest").text().not_null())
            .col(ColumnDef::new("made").uuid().not_null())
            .col(ColumnDef::new("at_us").big_integer().not_null())
            .primary_key(Index::create().col("workspace_id").col("name"))
            .take();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("creates").take()).await
    }
}
