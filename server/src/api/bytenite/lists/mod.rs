//! Lists as callers ask for them: pages, cursors, orders and filters.

mod cursor;
mod filter;
pub mod named;
pub mod page;
pub mod selection;
