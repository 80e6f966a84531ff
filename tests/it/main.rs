//! Tests of parts that only together make sense, in one binary.

mod access;
mod blobs;
mod bytes;
mod checklist;
mod clients;
mod containers;
mod contract;
mod damage;
mod durability;
mod failures;
mod hello_world;
mod house;
mod main_job;
mod messages;
mod operators;
mod outages;
mod sources;
