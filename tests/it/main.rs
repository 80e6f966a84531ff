//! Tests of parts that only together make sense, in one binary.

mod link;
mod world;
