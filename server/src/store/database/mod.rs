//! What an open database is: its schema, its pool, its failures and its files.

pub(super) mod connection;
mod direct;
pub(super) mod epoch;
pub(super) mod failure;
pub mod integrity;
pub(super) mod pool_guard;
pub(super) mod row_check;
pub(super) mod script;
pub(super) mod upgrade;
pub mod wal;
