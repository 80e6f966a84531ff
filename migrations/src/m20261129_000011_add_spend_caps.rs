//! What the runs of projects may cost.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// `spent` is what the runs have cost since `since_us`, the begin of the period; both amounts are in
/// 1e-8 credits.
const STATEMENT: &str = "CREATE TABLE spend_caps (workspace UUID NOT NULL, project TEXT NOT NULL, \
    units BIGINT NOT NULL, period VARCHAR NOT NULL, since_us BIGINT NOT NULL, \
    spent BIGINT NOT NULL, PRIMARY KEY (workspace, project))";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(STATEMENT).await?;
        Ok(())
    }
}
