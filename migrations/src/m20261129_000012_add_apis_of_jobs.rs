//! Which API has made a job, where that API shows its own jobs alone.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// Jobs that were made before are told apart by what their APIs have given them.
const STATEMENTS: [&str; 5] = [
    "ALTER TABLE jobs ADD COLUMN api TEXT",
    "UPDATE jobs SET api = 'tork' WHERE kind = 'plan' AND project = 'tork'",
    "UPDATE jobs SET api = 'daestro' WHERE scope LIKE 'queue:%'",
    "UPDATE jobs SET api = 'ejjy' \
     WHERE kind = 'container' AND project IS NOT NULL AND scope IS NULL",
    "CREATE INDEX jobs_of_apis ON jobs (workspace, api) WHERE api IS NOT NULL",
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
