//! Which part of a list is asked for, and in what order: what use cases that list things take and
//! give. How a client writes a filter, an order or a cursor is its API's.

pub use crate::store::query::selection::{
    Comparison, Field, Found, Kind, Operand, Place, Rest, Selection, Start, Test,
};

/// A part of a list that is told by its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub offset: u64,
    pub limit: u64,
}
