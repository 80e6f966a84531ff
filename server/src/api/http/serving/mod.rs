//! Serving the API over TCP with limits: time for each part of a request, a minimum speed for
//! bodies and answers, and a maximum of connections from one address and in all.
//!
//! warp routes the requests. It has no timers and no limits of its own, so connections are accepted
//! and driven here. Only HTTP/1.1 is offered: the flow control of HTTP/2 hides from the server that
//! a client does not read, and proxies in front speak HTTP/1.1 as well.

mod accept;
mod connection;
pub mod exchange;
mod guard;
mod headers;
mod pace;
mod request_id;
mod stream;
mod table;
mod target;
#[cfg(test)]
mod tests;

pub use accept::{Options, serve};
pub use pace::{Limits, Pace};
pub use table::Peer;
