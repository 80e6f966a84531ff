//! ByteNite's API: its routes, its wire shapes, its words.
//!
//! It translates requests into use cases and what they give into answers, and decides nothing.

mod auth;
mod config;
mod customer;
mod descriptor;
mod dev;
mod fields;
pub(super) mod lists;
mod names;
mod params;
#[cfg(test)]
mod secret_use_tests;
mod template;
mod wallet;
pub(super) mod wire;
mod words;
pub(super) mod work;

use super::http::router::Api;

/// Its parts, each below a prefix of its own.
pub fn apis() -> Vec<Api> {
    vec![customer::api(), auth::api(), dev::api(), wallet::api()]
}
