//! The shapes that all of ByteNite's resources share.

mod done;
pub mod error;

pub use done::{Done, done, done_with};
