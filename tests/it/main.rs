//! Tests of parts that only together make sense, in one binary.

mod apis;
mod documents;
mod faults;
mod jobs;
mod operation;
