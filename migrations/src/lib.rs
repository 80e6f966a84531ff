//! The history of the schema. One change a file, never edited after it has landed.
//!
//! Money is a BIGINT of 1e-8 credits, and times are a BIGINT of microseconds since 1970: both
//! read back exactly on SQLite and on PostgreSQL.

#![expect(
    elided_lifetimes_in_paths,
    reason = "the migration trait's methods must be written with `&SchemaManager`"
)]

use sea_orm_migration::prelude::*;
pub use sea_orm_migration::{MigratorTrait, SchemaManager};

mod m20261122_000001_create_runs;
mod m20261122_000002_create_catalogue;
mod m20261122_000003_describe_jobs;
mod m20261122_000004_sign_in;
mod m20261122_000005_create_once;
mod m20261122_000006_members;
mod m20261122_000007_share_packages;
mod m20261122_000008_move_money;
mod m20261122_000009_tell_of_tasks;
mod m20261122_000011_pin_uploads;
mod m20261128_000012_number_batches;

pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_create_runs::Migration),
            Box::new(m20261122_000002_create_catalogue::Migration),
            Box::new(m20261122_000003_describe_jobs::Migration),
            Box::new(m20261122_000004_sign_in::Migration),
            Box::new(m20261122_000005_create_once::Migration),
            Box::new(m20261122_000006_members::Migration),
            Box::new(m20261122_000007_share_packages::Migration),
            Box::new(m20261122_000008_move_money::Migration),
            Box::new(m20261122_000009_tell_of_tasks::Migration),
            Box::new(m20261122_000011_pin_uploads::Migration),
            Box::new(m20261128_000012_number_batches::Migration),
        ]
    }
}
