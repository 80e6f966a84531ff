//! Schedules of jobs, and which of their nominal times made no run.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, integer, text, text_null, uuid};

#[derive(DeriveMigrationName)]
pub struct Migration;

/// A start reads the active schedules from this index alone.
const ACTIVE: &str = "CREATE INDEX schedules_active ON schedules (due_us, next_us, job, revision) \
                      WHERE due_us IS NOT NULL";
const OF_WORKSPACE: &str = "CREATE INDEX schedules_of_workspace ON schedules (workspace, job)";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(schedules()).await?;
        manager.create_table(skips()).await?;
        for statement in [ACTIVE, OF_WORKSPACE] {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

fn schedules() -> TableCreateStatement {
    Table::create()
        .table("schedules")
        .col(uuid("job").primary_key())
        .col(uuid("workspace"))
        // Who has set it, and with what.
        .col(uuid("user_id"))
        .col(uuid("api_key"))
        .col(text("scopes"))
        // JSON.
        .col(text("rules"))
        .col(text("state"))
        .col(integer("revision"))
        // The next and the last nominal time.
        .col(big_integer_null("next_us"))
        .col(big_integer_null("last_us"))
        // When the run of the next one starts, while the schedule is active.
        .col(big_integer_null("due_us"))
        .take()
}

/// Nominal times from `first_us` to `last_us` that made no run.
fn skips() -> TableCreateStatement {
    Table::create()
        .table("schedule_skips")
        .col(uuid("job"))
        .col(big_integer("first_us"))
        .col(big_integer("last_us"))
        .col(text("cause"))
        .col(text_null("message"))
        .col(big_integer("at_us"))
        .primary_key(Index::create().col("job").col("first_us"))
        .take()
}
