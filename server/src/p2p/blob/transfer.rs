//! Moves the bytes of a blob stream, within the time that they may take.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use common::protocol::{BlobReply, BlobRequest};
use futures::io::BufWriter;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p::Stream;
use serde::Serialize;
use tokio::time::timeout;

use super::frame::{self, Error, SILENCE, within};
use super::source::Found;
use crate::data::{self, ByteStream};
use crate::p2p::refusal::Refusal;

const PIECE_BYTES: usize = 32 * 1024;
/// A request is a few hundred bytes: a peer that takes longer to send it wants only the place.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A transfer that is slower than this over its whole length is given up: its place is wanted.
const BYTES_PER_SEC_MIN: u64 = 8 * 1024;
const TRANSFER_MIN: Duration = Duration::from_secs(600);

pub(super) async fn read_request(stream: &mut Stream) -> Result<BlobRequest, Error> {
    timeout(REQUEST_TIMEOUT, frame::read(stream))
        .await
        .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

pub(super) async fn say(
    stream: &mut (impl AsyncWrite + Unpin),
    reply: &BlobReply,
) -> Result<(), Error> {
    frame::write(stream, reply).await?;
    within(async { Ok(stream.flush().await?) }).await
}

pub(super) async fn close(stream: &mut (impl AsyncWrite + Unpin)) -> Result<(), Error> {
    within(async { Ok(stream.close().await?) }).await
}

pub(super) async fn send_list<T: Serialize>(
    files: u32,
    list: impl Iterator<Item = T>,
    stream: Stream,
) -> Result<(), Error> {
    let mut stream = BufWriter::new(stream);
    frame::write(&mut stream, &BlobReply::Listing { files }).await?;
    for file in list {
        frame::write(&mut stream, &file).await?;
    }
    close(&mut stream).await
}

pub(super) async fn send(found: Found, mut stream: Stream) -> Result<(), Error> {
    let (bytes, digest, source) = match found {
        Found::Said(reply) => {
            say(&mut stream, &reply).await?;
            return close(&mut stream).await;
        }
        Found::Here { bytes, digest, stream } => (bytes, digest, stream),
    };
    say(&mut stream, &BlobReply::Bytes { bytes, digest }).await?;
    let sent = timeout(patience(bytes), pass_on(source, bytes, &mut stream)).await;
    sent.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))?;
    close(&mut stream).await
}

/// Passes on exactly `bytes` bytes. Once they are announced, a source that gives fewer or more
/// can only be told by breaking off.
async fn pass_on(
    mut source: ByteStream,
    bytes: u64,
    stream: &mut (impl AsyncWrite + Unpin),
) -> Result<(), Error> {
    let mut left = bytes;
    while let Some(piece) = within(async { Ok(source.next().await) }).await? {
        let piece = piece.map_err(|error| Error::Io(io::Error::other(Refusal::from(error))))?;
        left = left
            .checked_sub(piece.len() as u64)
            .ok_or_else(|| Error::Io(io::Error::other("the source gave more bytes than it has")))?;
        // In small parts, so that a slow peer that takes some is not taken for a silent one.
        for part in piece.chunks(PIECE_BYTES) {
            within(async { Ok(stream.write_all(part).await?) }).await?;
        }
    }
    if left > 0 {
        return Err(Error::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(())
}

/// The bytes that a peer sends, exactly `size` of them or an error.
pub(super) fn incoming(from: impl AsyncRead + Unpin + Send + 'static, size: u64) -> ByteStream {
    Box::pin(futures::stream::try_unfold((from, size), |(mut from, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let room = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let mut piece = vec![0; room];
        let read = timeout(SILENCE, from.read(&mut piece)).await;
        let n = read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if n == 0 {
            return Err(data::Error::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        piece.truncate(n);
        Ok(Some((Bytes::from(piece), (from, left - n as u64))))
    }))
}

/// The longest that this many bytes may take.
pub(super) fn patience(bytes: u64) -> Duration {
    TRANSFER_MIN + Duration::from_secs(bytes / BYTES_PER_SEC_MIN)
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;

    use super::*;

    fn source(pieces: &[&'static [u8]]) -> ByteStream {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
        Box::pin(futures::stream::iter(pieces))
    }

    #[tokio::test]
    async fn source_with_a_wrong_length_is_refused() {
        for (bytes, good) in [(7, true), (6, false), (8, false)] {
            let mut sent = Vec::new();

            let passed = pass_on(source(&[b"fan", b"fold"]), bytes, &mut sent).await;

            assert_eq!(passed.is_ok(), good, "{bytes}");
        }
    }

    #[tokio::test]
    async fn incoming_bytes_are_exactly_the_announced_ones() {
        let taken: Vec<Bytes> = incoming(&b"fanfold"[..], 3).try_collect().await.unwrap();
        let short = incoming(&b"fan"[..], 7).try_collect::<Vec<_>>().await;

        assert_eq!(taken.concat(), b"fan");
        assert!(matches!(short, Err(data::Error::Io(_))));
    }

    #[test]
    fn patience_has_a_minimum_and_grows_with_the_size() {
        assert_eq!(patience(0), TRANSFER_MIN);
        assert_eq!(patience(BYTES_PER_SEC_MIN * 60), TRANSFER_MIN + Duration::from_secs(60));
    }
}
