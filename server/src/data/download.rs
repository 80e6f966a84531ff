//! Reading an object of a store as a stream.

use std::io::SeekFrom;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{GetResult, GetResultPayload};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::{ByteStream, Error};

/// What is read of a file at once: each piece costs a trip to another thread.
const PIECE_BYTES: usize = 256 << 10;

/// The bytes that a store found.
pub async fn stream(found: GetResult) -> Result<ByteStream, Error> {
    let expected = found.range.end - found.range.start;
    match found.payload {
        GetResultPayload::File(file, _) => {
            let mut file = tokio::fs::File::from_std(file);
            file.seek(SeekFrom::Start(found.range.start)).await?;
            let pieces = ReaderStream::with_capacity(file.take(expected), PIECE_BYTES);
            Ok(exactly(expected, pieces.map_err(Error::from).boxed()))
        }
        GetResultPayload::Stream(pieces) => {
            Ok(exactly(expected, pieces.map_err(Error::from).boxed()))
        }
    }
}

/// Passes a stream on that must have exactly so many bytes. One that ends early fails, so that no
/// half answer is taken for a whole one.
pub fn exactly(expected: u64, bytes: ByteStream) -> ByteStream {
    let counted = futures::stream::try_unfold((bytes, expected), |(mut bytes, left)| async move {
        match bytes.try_next().await? {
            Some(piece) => {
                let left = left.checked_sub(piece.len() as u64).ok_or(Error::Mismatch)?;
                Ok(Some((piece, (bytes, left))))
            }
            None if left == 0 => Ok(None),
            None => Err(Error::Io(std::io::ErrorKind::UnexpectedEof.into())),
        }
    });
    counted.boxed()
}

/// A stream of nothing.
pub fn no_bytes() -> ByteStream {
    futures::stream::empty().boxed()
}

/// Collects a stream that is known to be small.
///
/// # Errors
/// `Mismatch` where it has more than `max` bytes.
pub async fn collect(mut bytes: ByteStream, max: u64) -> Result<Bytes, Error> {
    let mut all = BytesMut::new();
    while let Some(piece) = bytes.try_next().await? {
        if (all.len() + piece.len()) as u64 > max {
            return Err(Error::Mismatch);
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}
