//! What benchmarks are made of: a server, nodes, packages and jobs of their own, and what a process has
//! used.

pub mod container;
pub mod fleet;
pub mod job;
pub mod process;
pub mod real_node;
pub mod server_process;
pub mod tiny;
