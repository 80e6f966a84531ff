//! Bodies that wait on the disk for their turn, so that a slow one holds no memory and no turn.

use std::io::{ErrorKind, SeekFrom};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::call::Call;
use crate::error::{Error, Result};

/// A whole body in a file without a name, which goes with the value, even in a crash.
pub struct Spooled {
    file: tokio::fs::File,
    size: u64,
}

impl Call {
    /// Writes the body to a file. The number of such files is bounded by the places for uploads.
    pub async fn spool(&mut self, max: u64) -> Result<Spooled> {
        if self.content_length().is_some_and(|length| length > max) {
            return Err(Error::TooLarge(max));
        }
        let folder = self.app().settings.spool.clone();
        let file = tokio::task::spawn_blocking(move || tempfile::tempfile_in(folder));
        let file = file.await.map_err(|error| Error::Internal(Box::new(error)))?;
        let mut file = tokio::fs::File::from_std(file.map_err(failed)?);
        let mut size = 0;
        while let Some(piece) = self.next_piece().await {
            let piece = piece?;
            size += piece.len() as u64;
            if size > max {
                return Err(Error::TooLarge(max));
            }
            file.write_all(&piece).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        Ok(Spooled { file, size })
    }
}

impl Spooled {
    /// The body, in memory.
    pub async fn read(mut self) -> Result<Bytes> {
        self.file.seek(SeekFrom::Start(0)).await.map_err(failed)?;
        let mut whole = Vec::with_capacity(usize::try_from(self.size).unwrap_or(0));
        self.file.read_to_end(&mut whole).await.map_err(failed)?;
        Ok(whole.into())
    }
}

fn failed(error: std::io::Error) -> Error {
    if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
        return Error::DiskFull("data folder");
    }
    Error::Internal(Box::new(error))
}
