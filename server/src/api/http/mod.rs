//! What every door is made of: how requests come in, who calls, how answers and failures go out,
//! and how the table of routes becomes the router and the OpenAPI documents.

mod body;
pub mod call;
mod client;
pub mod docs;
pub mod idempotency;
mod known;
pub mod places;
pub mod problem;
pub mod query;
pub mod reply;
pub mod route;
pub mod router;
pub mod serving;
pub mod shape;
mod spool;
