//! When a job is looked at next that is deleted some time after its end, so that those whose time
//! has not come cost nothing.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// Jobs that were made before are looked at once.
const STATEMENTS: [&str; 4] = [
    "ALTER TABLE jobs ADD COLUMN delete_look_us BIGINT",
    "UPDATE jobs SET delete_look_us = 0 \
     WHERE auto_delete_secs IS NOT NULL AND deleted_us IS NULL AND run IS NOT NULL",
    "DROP INDEX jobs_auto_delete",
    "CREATE INDEX jobs_looked_at ON jobs (delete_look_us) \
     WHERE delete_look_us IS NOT NULL AND deleted_us IS NULL",
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
