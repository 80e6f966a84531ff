//! Rules for everything that the node fetches over the network.

pub mod backoff;
pub mod ssrf_guard;
