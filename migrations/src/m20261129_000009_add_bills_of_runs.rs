//! What lines of the statement say of a run: one that has ended and goes on has a line each time.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

const STATEMENTS: [&str; 3] = [
    "ALTER TABLE runs ADD COLUMN billed BIGINT NOT NULL DEFAULT 0",
    "UPDATE runs SET billed = captured WHERE settled_us IS NOT NULL",
    "ALTER TABLE runs DROP COLUMN settled_us",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
