//! Fanfold's own API, and the shapes of what belongs to no product.

pub mod error;
