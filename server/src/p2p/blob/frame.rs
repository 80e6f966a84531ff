//! Moves the frames of the blob protocol over a stream, and never waits forever.

use std::io;
use std::time::Duration;

use common::protocol::frame::{self, FrameError, HEAD_BYTES};
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

/// A peer that sends or takes no byte for this long is given up.
pub const SILENCE: Duration = Duration::from_secs(60);

/// Why a stream ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the peer sent {0}")]
    Frame(#[from] FrameError),
    #[error("the stream broke off")]
    Io(#[from] io::Error),
}

/// Reads one frame.
pub async fn read<T: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> Result<T, Error> {
    within(async {
        let mut head = [0; HEAD_BYTES];
        stream.read_exact(&mut head).await?;
        let mut bytes = vec![0; frame::length(head)?];
        stream.read_exact(&mut bytes).await?;
        Ok(frame::decode(&bytes)?)
    })
    .await
}

/// Writes one frame; the caller flushes.
pub async fn write<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    value: &T,
) -> Result<(), Error> {
    let frame = frame::encode(value)?;
    within(async { Ok(stream.write_all(&frame).await?) }).await
}

/// Gives up work that takes longer than a peer may be silent.
pub async fn within<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(SILENCE, work)
        .await
        .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}
