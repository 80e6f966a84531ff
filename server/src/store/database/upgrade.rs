//! Brings the schema up to date, all or nothing.

use migrations::{Migrator, MigratorTrait, SchemaManager};
use sea_orm::DbErr;

use crate::store::{Db, begin};

/// Applies all missing migrations in one transaction, so that the schema is the one before or the
/// one after, whenever the server is killed. Both databases roll back changes of the schema.
pub async fn upgrade(db: &Db) -> Result<(), DbErr> {
    upgrade_by::<Migrator>(db).await
}

/// Whether there is this table.
pub(in crate::store) async fn has_table(db: &Db, name: &str) -> Result<bool, DbErr> {
    SchemaManager::new(&db.connection).has_table(name).await
}

async fn upgrade_by<M: MigratorTrait>(db: &Db) -> Result<(), DbErr> {
    let tx = begin(db).await?;
    M::up(&tx.transaction, None).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests;
