//! Text and JSON from outside, read within bounds.

pub mod alike;
pub mod exact;
pub mod json;
pub mod text;
