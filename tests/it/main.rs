//! Tests of parts that only together make sense, in one binary.

mod blobs;
mod durability;
mod failures;
mod harness;
mod house;
mod main_job;
mod messages;
mod set;
mod world;
