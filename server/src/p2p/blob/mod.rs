//! Blobs: one stream, one request, under a lease that the asking node holds.

pub(super) mod damage;
pub(super) mod frame;
pub(super) mod handler;
pub(super) mod incoming_results;
pub(super) mod known_results;
pub(super) mod lease_resources;
pub(super) mod lru;
pub(super) mod own_container;
pub(super) mod result_index;
pub(super) mod source;
pub(super) mod streams;
mod transfer;
