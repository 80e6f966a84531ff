//! Services on loopback that tests play or start: what a server, a node or a customer talks to.

pub mod collector;
pub mod postgres;
pub mod proxy;
pub mod receiver;
pub mod recorder;
pub mod registry;
pub mod s3;
pub mod web;
