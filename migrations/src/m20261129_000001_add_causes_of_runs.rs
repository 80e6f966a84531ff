//! The kind of the cause for which a run ended, beside its message in `error`.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// Of runs that ended before, only cancelled ones are known by their state.
const STATEMENTS: [&str; 2] = [
    "ALTER TABLE runs ADD COLUMN cause VARCHAR",
    "UPDATE runs SET cause = CASE WHEN state IN ('ending', 'cancelled') THEN 'cancelled' \
     ELSE 'server' END WHERE error IS NOT NULL",
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
