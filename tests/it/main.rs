//! Tests of parts that only together make sense, in one binary.

mod blobs;
mod house;
mod messages;
mod set;
mod world;
