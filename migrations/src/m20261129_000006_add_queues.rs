//! Queues of runs, pools of nodes, and definitions of jobs.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, boolean, integer, integer_null, string, text, uuid};

#[derive(DeriveMigrationName)]
pub struct Migration;

/// The name is the only one of its workspace and project.
const STATEMENTS: [&str; 5] = [
    "CREATE UNIQUE INDEX queues_of_workspaces ON queues (workspace, project, name)",
    "CREATE UNIQUE INDEX pools_of_workspaces ON pools (workspace, project, name)",
    "CREATE UNIQUE INDEX definitions_of_workspaces \
     ON definitions (workspace, project, name, version)",
    "ALTER TABLE jobs ADD COLUMN queue UUID",
    "CREATE INDEX jobs_of_queues ON jobs (queue, id) WHERE queue IS NOT NULL",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(queues()).await?;
        manager.create_table(pools()).await?;
        manager.create_table(definitions()).await?;
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// The columns of everything that has a name in a project.
fn named(table: &'static str) -> TableCreateStatement {
    Table::create()
        .table(table)
        .col(uuid("id").primary_key())
        .col(uuid("workspace"))
        // Empty for none.
        .col(string("project"))
        .col(string("name"))
        .col(string("description"))
        .col(big_integer("created_us"))
        .col(big_integer("updated_us"))
        .take()
}

fn queues() -> TableCreateStatement {
    named("queues")
        .col(integer("rank"))
        // 0 is no limit.
        .col(big_integer("max_running"))
        .col(boolean("enabled"))
        .col(boolean("paused"))
        .col(integer_null("timeout_secs"))
        .col(integer_null("idle_secs"))
        // JSON of the ids of its pools.
        .col(text("pools"))
        .take()
}

fn pools() -> TableCreateStatement {
    // JSON of the selection of nodes.
    named("pools").col(text("nodes")).take()
}

fn definitions() -> TableCreateStatement {
    named("definitions")
        .col(integer("version"))
        .col(string("kind"))
        // JSON of what its jobs run.
        .col(text("work"))
        // JSON of the values of parameters where a job gives none.
        .col(text("parameters"))
        .col(boolean("active"))
        .take()
}
