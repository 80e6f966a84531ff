//! What containers wrote, and their nodes around them: stored as it comes, moved to the bucket by
//! volume, and read from both. It knows nothing of who may read it.

pub mod compactor;
mod error;
pub mod reader;
pub mod segment;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod writer;

pub use error::Error;
