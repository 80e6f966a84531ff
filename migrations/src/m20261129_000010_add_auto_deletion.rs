//! Jobs that are deleted some time after their end.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

const STATEMENTS: [&str; 2] = [
    "ALTER TABLE jobs ADD COLUMN auto_delete_secs BIGINT",
    "CREATE INDEX jobs_auto_delete ON jobs (run) \
     WHERE auto_delete_secs IS NOT NULL AND deleted_us IS NULL",
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
