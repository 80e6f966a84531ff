//! Jobs of every kind, from their order to what they give.

mod bytes;
mod calls;
mod containers;
mod contract;
mod failures;
pub mod hello_world;
mod logs;
mod long_logs;
pub mod main_job;
mod run_command;
mod schedules;
mod sources;
mod workflow_examples;
mod workflows;
