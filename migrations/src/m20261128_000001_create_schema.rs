//! The first schema, a file for each subject.

use sea_orm_migration::prelude::*;

mod catalogue;
mod jobs;
mod logs;
mod money;
mod nodes;
mod people;
mod runs;
mod secrets;
mod storage;
mod tasks;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let subjects = [
            people::tables(),
            secrets::tables(),
            catalogue::tables(),
            jobs::tables(),
            runs::tables(),
            tasks::tables(),
            logs::tables(),
            nodes::tables(),
            money::tables(),
            storage::tables(),
        ];
        for NewTable { table, then } in subjects.into_iter().flatten() {
            manager.create_table(table).await?;
            for statement in then {
                manager.get_connection().execute_unprepared(statement).await?;
            }
        }
        Ok(())
    }
}

/// A table, and what follows its creation: indexes and first rows, in SQL that both databases
/// read alike.
struct NewTable {
    table: TableCreateStatement,
    then: Vec<&'static str>,
}

/// A primary key of several columns.
fn key(columns: &[&'static str]) -> IndexCreateStatement {
    let mut key = Index::create();
    for column in columns {
        key.col(*column);
    }
    key.primary().take()
}
