//! Tests of parts that only together make sense, in one binary.

mod blobs;
mod messages;
mod set;
mod world;
