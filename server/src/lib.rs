//! The server: doors for customers and developers (`api`), a hub for nodes (`p2p`), the data
//! plane (`data`), the tables (`store`), and the one writer of runs and money (`coordinator`).

pub mod api;
pub mod check;
pub mod clock;
pub mod config;
pub mod coordinator;
mod daily_checks;
pub mod data;
mod database;
mod durable;
mod earnings;
pub mod files;
mod key_check;
mod keys;
mod last_batch;
pub mod mail;
pub mod p2p;
pub mod places;
mod purge;
pub mod quotas;
pub mod registry;
pub mod seal;
pub mod secrets;
mod server;
mod storage_fees;
pub mod store;
pub mod vitals;

pub use config::Config;
pub use server::{Credentials, Error, Server, rotate_secrets_key};
