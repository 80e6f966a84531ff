//! Sync messages: who says it, is it true, and what the coordinator answers.

pub(super) mod handler;
pub(super) mod receipts;
pub(super) mod sanitize;
mod signatures;
mod small_inputs;
