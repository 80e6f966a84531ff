//! Writing one object to a store, whole or not at all, with a bounded buffer.

use common::digest::{Digest, Digester};
use common::error_chain::chain;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload, WriteMultipart};

use crate::data::{ByteStream, Error, Stored};

/// S3 takes at most 10,000 parts; part sizes are chosen so that this many are enough.
const PARTS_MAX: u64 = 9_000;
/// Parts of one object that are on their way at once: bounds the memory.
const PARTS_AT_ONCE: usize = 4;
/// Parts must be equal in size (some stores insist), so an object of unknown size gets larger
/// ones: up to 140 GiB.
const PART_BYTES_UNKNOWN: u64 = 16 << 20;
const PART_BYTES_MIN: u64 = 8 << 20;
/// A size may be announced by anybody, so it must not decide alone how much memory is used: up
/// to 560 GiB.
const PART_BYTES_MAX: u64 = 64 << 20;
/// A folder takes parts of any size.
const PART_BYTES_FOLDER: u64 = 1 << 20;

/// What kind of store an object is written to: it decides how large the parts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Folder,
    Cloud,
}

/// What is known about an object before its bytes have been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Nothing,
    /// It must have exactly this size.
    Size(u64),
    /// It must have exactly this size and digest.
    Stored(Stored),
}

impl Expected {
    fn size(self) -> Option<u64> {
        match self {
            Self::Nothing => None,
            Self::Size(size) | Self::Stored(Stored { size, .. }) => Some(size),
        }
    }

    fn digest(self) -> Option<Digest> {
        match self {
            Self::Nothing | Self::Size(_) => None,
            Self::Stored(stored) => Some(stored.digest),
        }
    }
}

impl Target {
    fn part_bytes(self, size: Option<u64>) -> usize {
        let bytes = match (self, size) {
            (Self::Folder, _) => PART_BYTES_FOLDER,
            (Self::Cloud, None) => PART_BYTES_UNKNOWN,
            (Self::Cloud, Some(size)) => {
                size.div_ceil(PARTS_MAX).clamp(PART_BYTES_MIN, PART_BYTES_MAX)
            }
        };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

/// Writes the bytes of a stream. Wrong bytes are never seen under `path`, and an older object
/// there stays until the new one is complete.
///
/// # Errors
/// `Mismatch` where the bytes are not the expected ones, and what the stream or the store say.
pub async fn put(
    store: &dyn ObjectStore,
    target: Target,
    path: &Path,
    expected: Expected,
    bytes: ByteStream,
) -> Result<Stored, Error> {
    let part_bytes = target.part_bytes(expected.size());
    let mut bytes = Checked { bytes, expected, size: 0, digester: Digester::default() };

    // Most objects are small: one request instead of three.
    let mut first = Vec::new();
    let mut first_bytes = 0;
    while first_bytes < part_bytes {
        let Some(piece) = bytes.next().await? else {
            let stored = bytes.finish()?;
            store.put(path, PutPayload::from_iter(first)).await?;
            return Ok(stored);
        };
        first_bytes += piece.len();
        first.push(piece);
    }

    let upload = store.put_multipart(path).await?;
    let mut write = WriteMultipart::new_with_chunk_size(upload, part_bytes);
    let written = async {
        for piece in first {
            write.wait_for_capacity(PARTS_AT_ONCE).await?;
            write.put(piece);
        }
        while let Some(piece) = bytes.next().await? {
            write.wait_for_capacity(PARTS_AT_ONCE).await?;
            write.put(piece);
        }
        bytes.finish()
    }
    .await;
    match written {
        Ok(stored) => {
            write.finish().await?;
            Ok(stored)
        }
        Err(error) => {
            // The first error says more than a second one about cleaning up.
            if let Err(error) = write.abort().await {
                tracing::warn!(error = %chain(&error), "parts of a broken upload are left behind");
            }
            Err(error)
        }
    }
}

/// A stream that is counted and hashed while it passes.
struct Checked {
    bytes: ByteStream,
    expected: Expected,
    size: u64,
    digester: Digester,
}

impl Checked {
    async fn next(&mut self) -> Result<Option<bytes::Bytes>, Error> {
        let Some(piece) = self.bytes.try_next().await? else { return Ok(None) };
        self.size += piece.len() as u64;
        if self.expected.size().is_some_and(|size| self.size > size) {
            return Err(Error::Mismatch);
        }
        self.digester.update(&piece);
        Ok(Some(piece))
    }

    fn finish(&self) -> Result<Stored, Error> {
        let stored = Stored { size: self.size, digest: self.digester.clone().finish() };
        let right = self.expected.size().is_none_or(|size| size == stored.size)
            && self.expected.digest().is_none_or(|digest| digest == stored.digest);
        if right { Ok(stored) } else { Err(Error::Mismatch) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upload_parts_are_limited_in_number_and_size() {
        for size in [0, 1, 1 << 30, 100 << 30, 500 << 30] {
            let part = Target::Cloud.part_bytes(Some(size)) as u64;

            assert!(size.div_ceil(part) <= 10_000, "{size}");
        }
        assert_eq!(Target::Cloud.part_bytes(Some(u64::MAX)) as u64, PART_BYTES_MAX);
    }
}
