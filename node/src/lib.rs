//! The agent of a donor node.

pub mod link;
