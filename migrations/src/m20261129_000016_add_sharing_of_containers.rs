//! Which workspaces let the tasks of all their runs follow one another in containers.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let statement = "ALTER TABLE workspaces ADD COLUMN containers TEXT NOT NULL DEFAULT 'run'";
        manager.get_connection().execute_unprepared(statement).await.map(drop)
    }
}
