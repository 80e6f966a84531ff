//! The schema. A migration is never edited after it has been released: later changes are
//! migrations of their own.
//!
//! Money is a BIGINT of 1e-8 credits, and times (`…_us`) are a BIGINT of microseconds since 1970:
//! both read back exactly on SQLite and on PostgreSQL. JSON documents are kept as text, because
//! PostgreSQL's JSON refuses texts that JSON allows. A column that refers to a row of another
//! table is named after what it refers to: `run`, `workspace`, `node`. Only users are `user_id`,
//! because `user` is a word of SQL.

#![expect(
    elided_lifetimes_in_paths,
    reason = "the migration trait's methods must be written with `&SchemaManager`"
)]

use sea_orm_migration::prelude::*;
pub use sea_orm_migration::{MigratorTrait, SchemaManager};

mod m20261128_000001_create_schema;
mod m20261129_000001_add_causes_of_runs;
mod m20261129_000002_add_kinds_of_jobs;
mod m20261129_000003_add_schedules;
mod m20261129_000004_add_calls;
mod m20261129_000005_add_containers;
mod m20261129_000006_add_queues;
mod m20261129_000007_add_callbacks;
mod m20261129_000008_add_log_days;
mod m20261129_000009_add_bills_of_runs;
mod m20261129_000010_add_auto_deletion;
mod m20261129_000011_add_spend_caps;
mod m20261129_000012_add_apis_of_jobs;
mod m20261129_000013_add_small_results;
mod m20261129_000014_add_index_of_unbilled_runs;
mod m20261129_000015_add_looks_at_ended_jobs;
mod m20261129_000016_add_sharing_of_containers;
mod m20261130_000017_add_indexes_of_what_is_open;

/// Brings a database to the current schema.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261128_000001_create_schema::Migration),
            Box::new(m20261129_000001_add_causes_of_runs::Migration),
            Box::new(m20261129_000002_add_kinds_of_jobs::Migration),
            Box::new(m20261129_000003_add_schedules::Migration),
            Box::new(m20261129_000004_add_calls::Migration),
            Box::new(m20261129_000005_add_containers::Migration),
            Box::new(m20261129_000006_add_queues::Migration),
            Box::new(m20261129_000007_add_callbacks::Migration),
            Box::new(m20261129_000008_add_log_days::Migration),
            Box::new(m20261129_000009_add_bills_of_runs::Migration),
            Box::new(m20261129_000010_add_auto_deletion::Migration),
            Box::new(m20261129_000011_add_spend_caps::Migration),
            Box::new(m20261129_000012_add_apis_of_jobs::Migration),
            Box::new(m20261129_000013_add_small_results::Migration),
            Box::new(m20261129_000014_add_index_of_unbilled_runs::Migration),
            Box::new(m20261129_000015_add_looks_at_ended_jobs::Migration),
            Box::new(m20261129_000016_add_sharing_of_containers::Migration),
            Box::new(m20261130_000017_add_indexes_of_what_is_open::Migration),
        ]
    }
}
