//! Tests of parts that only together make sense, in one binary.

mod blobs;
mod clients;
mod contract;
mod durability;
mod failures;
mod harness;
mod hello_world;
mod house;
mod main_job;
mod messages;
mod set;
mod sources;
mod world;
