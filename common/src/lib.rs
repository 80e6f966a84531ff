//! Fanfold's words, its wire, and every decision it takes.
//!
//! Nothing here reads a clock, draws a random number, waits or does IO: whoever calls passes the
//! time and the ids in. That is what lets a seeded simulation drive the whole market.
//!
//! The words, one for one thing:
//! a *job* is the customer's order and a *run* one execution of it; a *template* names a
//! partitioner, an *app* and an assembler; a *chunk* is a piece of data and a *task* the work on
//! it; an *attempt* is one try of a task on one *node*, under a *lease*; a *receipt* is what the
//! node signs when the attempt ends; a *hold* reserves credits and a *capture* takes them.

pub mod address;
pub mod alike;
pub mod cache;
pub mod chunks;
pub mod credits;
pub mod device;
pub mod digest;
pub mod environment;
pub mod exact;
pub mod exchange;
pub mod exit;
pub mod ids;
pub mod image;
pub mod json;
pub mod ledger;
pub mod market;
pub mod objects;
pub mod origin;
pub mod package;
pub mod pattern;
pub mod plan;
pub mod price;
pub mod protocol;
pub mod resources;
pub mod rights;
pub mod run;
pub mod secret;
pub mod spec;
pub mod statement;
pub mod task;
pub mod terms;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
pub mod wallet;
