//! A whole market for a test: the real binary as processes, real containers, real HTTP.

pub mod books;
pub mod busybox;
pub mod client;
pub mod collector;
pub mod market;
pub mod package;
pub mod peer;
pub mod postgres;
pub mod power;
pub mod process;
pub mod proxy;
pub mod python;
pub mod receiver;
pub mod recorder;
pub mod registry;
pub mod rogue;
pub mod s3;
pub mod say;
pub mod set;
pub mod tenant;
pub mod test_clock;
pub mod tmpfs;
pub mod wait;
pub mod web;
pub mod world;
