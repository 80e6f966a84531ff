use crate::{data, store};

/// Why logs cannot be read or moved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("database")]
    Db(#[from] store::Error),
    #[error("bucket")]
    Data(#[from] data::Error),
    #[error("a segment of the log of run {0} cannot be read")]
    Segment(common::ids::RunId),
}
