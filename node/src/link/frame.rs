//! Moves the frames of the blob protocol over a stream.

use common::protocol::frame::{self, HEAD_BYTES};
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;

/// Reads one frame.
pub async fn read<T: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> Result<T, Error> {
    let mut head = [0; HEAD_BYTES];
    stream.read_exact(&mut head).await?;
    let mut bytes = vec![0; frame::length(head)?];
    stream.read_exact(&mut bytes).await?;
    Ok(frame::decode(&bytes)?)
}

/// Writes one frame and sees it off.
pub async fn write<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    value: &T,
) -> Result<(), Error> {
    stream.write_all(&frame::encode(value)?).await?;
    stream.flush().await?;
    Ok(())
}
