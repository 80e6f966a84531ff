//! Addresses and origins of a network.

pub mod origin;
pub mod public_ip;
