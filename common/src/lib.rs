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
//!
//! The market decides in memory, and leaves in its outbox what must be stored before anybody is
//! told:
//!
//! ```
//! use common::ids::{NodeId, RunId, WorkspaceId};
//! use common::market::{CheckedSync, Market, Policy, Stored};
//! use common::money::ledger::Account;
//! use common::protocol::Orders;
//! use common::testing::{at, order, pipeline, start_cut, sync};
//! use uuid::Uuid;
//!
//! let customer = WorkspaceId::new(Uuid::from_u128(1));
//! let operator = WorkspaceId::new(Uuid::from_u128(2));
//! let run = RunId::new(Uuid::from_u128(3));
//! let node = NodeId::of_peer("a node's key");
//! let mut market = Market::load(Policy::default(), Stored::default(), at(0));
//! market.grant(customer, "10".parse()?, "gift", at(0))?;
//!
//! // A run of three chunks starts, and a node says what it lends.
//! start_cut(&mut market, run, order(customer, &pipeline()), 3, at(1));
//! market.sync(node, operator, CheckedSync { sync: sync(), receipts: Vec::new() }, at(2));
//! market.dispatch(at(2));
//!
//! // A node of a new operator gets two leases at once, whatever it lends.
//! let changes = market.drain();
//! assert_eq!(changes.tasks.len(), 2);
//! assert!(!market.balance(Account::Held(customer)).is_zero());
//! // Only when these changes are stored is the node told of them.
//! let Some(Orders::Work { assign, .. }) = market.orders(node, Vec::new()) else { panic!() };
//! assert_eq!(assign.len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod access;
pub mod call;
pub mod compute;
pub mod data;
pub mod digest;
pub mod error_chain;
pub mod expression;
pub mod ids;
pub mod input;
pub mod market;
pub mod money;
pub mod net;
pub mod order;
pub mod package;
pub mod plan;
pub mod protocol;
pub mod run;
pub mod schedule;
pub mod secret;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
