//! Bytes that a caller sends, as use cases take them.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};

pub use crate::data::ByteStream;
use crate::data::Error;
use crate::error::Result;

/// Pieces of a body as they arrive. Where one fails it is the caller's fault, and the caller is
/// told.
pub fn from_caller(pieces: impl Stream<Item = Result<Bytes>> + Send + 'static) -> ByteStream {
    let failed = |error: crate::error::Error| Error::Customer(error.to_string());
    Box::pin(pieces.map(move |piece| piece.map_err(failed)))
}
