//! What this machine is, and what of it the node lends.

pub mod device;
pub mod offers;
