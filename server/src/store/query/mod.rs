//! How lists are asked for, and how columns are read.

pub(super) mod document;
pub(super) mod insert;
pub(super) mod rows;
pub mod selection;
pub(super) mod statement_text;
