//! What a start checks before anything is served.

pub(super) mod database;
pub(super) mod last_batch;
