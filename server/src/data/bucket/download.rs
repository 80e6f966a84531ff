//! Reading an object of a store as a stream.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use common::digest::{Digest, Digester};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use object_store::{GetResult, GetResultPayload};
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};

use crate::data::{ByteStream, Error};

/// What is read of a file at once: each piece costs a trip to another thread.
const PIECE_BYTES: u64 = 256 << 10;
/// Pieces of a file that are read or wait while its reader works on one: what a slow reader holds.
const READ_AHEAD: usize = 2;

/// The bytes that a store found.
pub fn stream(found: GetResult) -> ByteStream {
    let expected = found.range.end - found.range.start;
    let pieces = match found.payload {
        GetResultPayload::File(file, _) => pieces_of(file, found.range).boxed(),
        GetResultPayload::Stream(pieces) => pieces.map_err(Error::from).boxed(),
    };
    exactly(expected, pieces)
}

fn pieces_of(file: File, range: Range<u64>) -> impl Stream<Item = Result<Bytes, Error>> {
    let file = Arc::new(file);
    let starts = stream::unfold(range.start, move |from| {
        let to = (from + PIECE_BYTES).min(range.end);
        std::future::ready((from < to).then_some((from..to, to)))
    });
    let read = move |piece: Range<u64>| {
        let file = Arc::clone(&file);
        let reading = tokio::task::spawn_blocking(move || read_at(&file, piece));
        async { Ok(reading.await.map_err(std::io::Error::other)??) }
    };
    starts.map(read).buffered(READ_AHEAD)
}

/// Reads a part of a file, less where the file ends before it.
fn read_at(file: &File, part: Range<u64>) -> std::io::Result<Bytes> {
    let wanted = usize::try_from(part.end - part.start).map_err(std::io::Error::other)?;
    let mut bytes = Vec::with_capacity(wanted);
    while bytes.len() < wanted {
        let at = part.start + bytes.len() as u64;
        match pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(wanted);
    Ok(bytes.into())
}

/// Passes a stream on that must have exactly this many bytes. One that ends early fails, so that no
/// half answer is taken for a whole one.
pub fn exactly(expected: u64, bytes: ByteStream) -> ByteStream {
    let counted = stream::try_unfold((bytes, expected), |(mut bytes, left)| async move {
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
    let checked = stream::try_unfold(start, move |(mut bytes, mut digester, name)| async move {
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
    let held = stream::try_unfold((bytes, None), |(mut bytes, mut last)| async move {
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
    stream::empty().boxed()
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
