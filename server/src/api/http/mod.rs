//! What every API is made of: how requests come in, who calls, how answers and failures go out, and
//! how the table of routes becomes the router and the OpenAPI documents. It knows no product's API.

mod body;
pub mod call;
mod client;
pub mod docs;
pub mod event_stream;
pub mod idempotency;
mod known;
pub mod permits;
pub mod problem;
pub mod problem_json;
pub mod query;
pub mod reasons;
pub mod reply;
pub mod route;
pub mod router;
pub mod serving;
pub mod shape;
mod spool;
