//! The server: doors for customers and developers (`api`), a hub for nodes (`p2p`), the data
//! plane (`data`), the tables (`store`), and the one writer of runs and money (`coordinator`).

pub mod api;
mod app;
#[cfg(test)]
mod captured_log;
pub mod check;
pub mod clock;
pub mod config;
pub mod coordinator;
pub mod data;
pub mod definitions;
mod durable;
pub mod error;
pub mod expressions;
mod field;
pub mod files;
mod idempotency;
mod incoming;
mod jobs;
pub mod limits;
mod listing;
pub mod logs;
pub mod mail;
mod maintenance;
pub mod metrics;
pub mod nodes;
pub mod p2p;
pub mod people;
pub mod readiness;
pub mod registry;
pub mod secrets;
mod server;
pub mod startup;
pub mod store;
pub mod supervisor;
pub mod traces;
mod wallet;

pub use config::Config;
pub use server::{Credentials, Error, Server, rotate_secrets_key};
