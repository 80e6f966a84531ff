//! A whole market for a test: the real binary as processes, real containers, real HTTP.

pub mod books;
pub mod client;
pub mod machine;
pub mod market;
pub mod package;
pub mod peer;
pub mod rogue;
pub mod say;
pub mod services;
pub mod set;
pub mod tenant;
pub mod wait;
pub mod world;
