//! What a task needs and a machine has.

pub mod container;
pub mod device;
pub mod environment;
pub mod exit;
pub mod image;
pub mod resources;
