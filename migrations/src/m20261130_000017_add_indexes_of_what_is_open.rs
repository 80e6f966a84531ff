//! Runs and tasks that have not ended: a start reads these, however many have ended before them.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

const RUNS: &str = "CREATE INDEX runs_open ON runs (ended_us) WHERE ended_us IS NULL";
/// Of any state but succeeded and failed.
const TASKS: &str = "CREATE INDEX tasks_open ON tasks (run) WHERE state NOT IN (2, 3)";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        db.execute_unprepared(RUNS).await?;
        db.execute_unprepared(TASKS).await?;
        Ok(())
    }
}
