//! Reading an object of a store as a stream.

use std::io::SeekFrom;

use bytes::{Bytes, BytesMut};
use common::digest::{Digest, Digester};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{GetResult, GetResultPayload};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use crate::data::{ByteStream, Error};

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

/// Passes a stream on that must have exactly this many bytes. One that ends early fails, so that no
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

/// Passes on the bytes of a file, which must have this digest. The stream fails at its end where
/// they have not.
pub fn verified(digest: Digest, name: &str, bytes: ByteStream) -> ByteStream {
    let start = (bytes, Digester::default(), name.to_owned());
    let checked =
        futures::stream::try_unfold(start, move |(mut bytes, mut digester, name)| async move {
            match bytes.try_next().await? {
                Some(piece) => {
                    digester.update(&piece);
                    Ok(Some((piece, (bytes, digester, name))))
                }
                None if digester.finish() == digest => Ok(None),
                None => Err(Error::Damaged(name)),
            }
        });
    checked.boxed()
}

/// The same bytes, the last piece only once the stream has ended well: who reads them is never
/// given all of a wrong file.
pub fn held_back(bytes: ByteStream) -> ByteStream {
    let held = futures::stream::try_unfold((bytes, None), |(mut bytes, mut last)| async move {
        loop {
            match (bytes.try_next().await?, last.take()) {
                (Some(next), None) => last = Some(next),
                (Some(next), Some(piece)) => return Ok(Some((piece, (bytes, Some(next))))),
                (None, Some(piece)) => return Ok(Some((piece, (no_bytes(), None)))),
                (None, None) => return Ok(None),
            }
        }
    });
    held.boxed()
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
