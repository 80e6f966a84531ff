//! Projects of jobs. What running attempts use, period by period, for their customers to look at.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, integer, uuid};

#[derive(DeriveMigrationName)]
pub struct Migration;

const STATEMENTS: [&str; 3] = [
    "ALTER TABLE jobs ADD COLUMN project VARCHAR",
    "ALTER TABLE jobs ADD COLUMN updated_us BIGINT",
    "CREATE INDEX jobs_of_projects ON jobs (workspace, project, created_us)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Read by run and time: so the rows of a run lie in the order of their times.
        let mut key = Index::create();
        for column in ["run", "at_us", "stage", "idx", "attempt"] {
            key.col(column);
        }
        let table = Table::create()
            .table("metric_samples")
            .col(uuid("run"))
            // The end of the period.
            .col(big_integer("at_us"))
            .col(integer("stage"))
            .col(big_integer("idx"))
            .col(integer("attempt"))
            .col(big_integer("cpu_millis"))
            .col(big_integer("memory_bytes"))
            .primary_key(&mut key)
            .take();
        manager.create_table(table).await?;
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
