//! Callbacks: whom a job tells how its runs have ended.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

const STATEMENTS: [&str; 3] = [
    "ALTER TABLE jobs ADD COLUMN callbacks TEXT",
    "ALTER TABLE runs ADD COLUMN callbacks TEXT",
    "CREATE INDEX runs_of_runs ON runs (parent) WHERE parent IS NOT NULL",
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
