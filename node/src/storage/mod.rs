//! What the node keeps between tasks, bounded in size: packages by digest, and the caches of
//! containers.

pub mod caches;
pub mod keyed_mutex;
pub mod packages;
