//! Jobs of other kinds than those of templates: what they do is one document. Why a run was
//! started.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

const STATEMENTS: [&str; 6] = [
    "ALTER TABLE jobs ADD COLUMN kind VARCHAR NOT NULL DEFAULT 'template'",
    "ALTER TABLE jobs ADD COLUMN work TEXT",
    "ALTER TABLE runs ADD COLUMN origin VARCHAR NOT NULL DEFAULT 'manual'",
    "ALTER TABLE runs ADD COLUMN nominal_us BIGINT",
    "DROP INDEX runs_job",
    "CREATE INDEX runs_of_jobs ON runs (job, started_us, id)",
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
