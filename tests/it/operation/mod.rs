//! Servers and nodes as their operators see them, and what they say to each other.

mod access;
mod blobs;
mod messages;
mod metrics;
mod operators;
mod traces;
mod uploads;
