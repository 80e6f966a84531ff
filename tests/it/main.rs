//! Tests of parts that only together make sense, in one binary.

mod house;
mod link;
mod world;
