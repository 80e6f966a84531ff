//! Reads an image while it comes in, as nodes will: what no engine could load is not kept.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use common::package::saved::{self, Saved};
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::data::{ByteStream, Error};

/// Pieces that wait to be read.
const PIECES_MAX: usize = 16;

/// The same bytes; they end with a refusal where an engine could not or must not unpack them.
pub fn checked(bytes: ByteStream) -> ByteStream {
    let (pieces, waiting) = mpsc::channel(PIECES_MAX);
    let reading = spawn_blocking(move || Saved::read(Pieces { waiting, piece: Bytes::new() }));
    let check = Check { bytes, reading: Some((pieces, reading)) };
    Box::pin(futures::stream::unfold(Some(check), |check| async {
        let mut check = check?;
        match check.next().await? {
            Ok(piece) => Some((Ok(piece), Some(check))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

struct Check {
    bytes: ByteStream,
    /// `None` once it has ended well.
    reading: Option<Reading>,
}

type Reading = (mpsc::Sender<Bytes>, JoinHandle<Result<Saved, saved::Error>>);

impl Check {
    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        let Some(piece) = self.bytes.next().await else {
            return self.finish().await.err().map(Err);
        };
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => return Some(Err(error)),
        };
        if let Some((pieces, _)) = &self.reading
            && pieces.send(piece.clone()).await.is_err()
            && let Err(refused) = self.finish().await
        {
            return Some(Err(refused));
        }
        Some(Ok(piece))
    }

    /// What came of it.
    async fn finish(&mut self) -> Result<(), Error> {
        let Some((pieces, reading)) = self.reading.take() else { return Ok(()) };
        drop(pieces);
        let read = reading.await.map_err(io::Error::other)?;
        read.map(drop).map_err(|refused| Error::Customer(refused.to_string()))
    }
}

/// Pieces as a blocking reader has them.
struct Pieces {
    waiting: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let Some(piece) = self.waiting.blocking_recv() else { return Ok(0) };
            self.piece = piece;
        }
        let n = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }
}
