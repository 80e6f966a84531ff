//! What a customer says of a job beside its work: how urgent it is, where it may run, its tags.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

const COLUMNS: [&str; 5] = ["priority", "whitelist", "blacklist", "tags", "start_us"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let number = ColumnDef::new("priority").small_integer().not_null().default(0).take();
        let list = |name: &'static str| ColumnDef::new(name).text().not_null().default("[]").take();
        let time = ColumnDef::new("start_us").big_integer().take();
        // SQLite adds one column at a time.
        for column in [number, list("whitelist"), list("blacklist"), list("tags"), time] {
            let change = Table::alter().table("jobs").add_column(column).take();
            manager.alter_table(change).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in COLUMNS {
            let change = Table::alter().table("jobs").drop_column(column).take();
            manager.alter_table(change).await?;
        }
        Ok(())
    }
}
