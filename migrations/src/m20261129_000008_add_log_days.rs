//! How long a workspace keeps its logs, where that is shorter than the server does.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let statement = "ALTER TABLE workspaces ADD COLUMN log_days INTEGER";
        manager.get_connection().execute_unprepared(statement).await.map(drop)
    }
}
