//! Attacks on the HTTP API of a real server: slow and silent clients, many connections, malformed
//! requests, other workspaces' ids, and one workspace that takes all places.

mod connections;
mod foreign;
mod malformed;
mod server;
mod slow;
mod tenants;
