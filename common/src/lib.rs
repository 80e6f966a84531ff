//! Fanfold's words, its wire, and every decision it takes.
//!
//! Nothing here reads a clock, draws a random number, waits or does IO: callers pass the
//! time and the ids in. That is what lets a seeded simulation drive the whole market.
//!
//! The words, one for one thing:
//! a *job* is the customer's order and a *run* one execution of it; a *template* names a
//! partitioner, an *app* and an assembler; a *chunk* is a piece of data and a *task* the work on
//! it; an *attempt* is one try of a task on one *node*, under a *lease*; a *receipt* is what the
//! node signs when the attempt ends; a *hold* reserves credits and a *capture* takes them.

pub mod access;
pub mod compute;
pub mod data;
pub mod digest;
pub mod error_chain;
pub mod ids;
pub mod input;
pub mod market;
pub mod money;
pub mod net;
pub mod package;
pub mod plan;
pub mod protocol;
pub mod run;
pub mod secret;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
