//! Tests of parts that only together make sense, in one binary.

mod access;
mod architecture;
mod blobs;
mod bytes;
mod checklist;
mod clients;
mod containers;
mod contract;
mod damage;
mod damaged_files;
mod docs;
mod durability;
mod failures;
mod full_disk;
mod hello_world;
mod main_job;
mod messages;
mod operators;
mod outages;
mod power_cuts;
mod restored;
mod server_check;
mod sources;
