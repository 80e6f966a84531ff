//! How much one client may take: at once, in a time, and in bytes.

pub mod concurrency;
pub mod open_files;
pub mod quotas;
pub(super) mod rate;
