//! Packages, templates and job settings as people write them: read once, tolerantly in spelling
//! and strictly in meaning, into values that are valid.

pub mod archive;
pub mod config;
pub mod engine;
mod login;
pub mod loose;
pub mod manifest;
mod packing;
pub mod saved;
pub mod schema;
pub mod tag;
pub mod tarball;
pub mod template;
mod unpacked;
