//! What is kept in the bucket, as rows name it.

pub mod holdings;
pub mod named_objects;
