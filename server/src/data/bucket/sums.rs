//! Check sums of a file in Fanfold's bucket, piece by piece, so that any part of it can be checked
//! without reading all of it: a bit that rots between the cut of a run and the read of a chunk is
//! named, and never handed to a node.
//!
//! They are made of a file that was just found right, and lie beside the run's other objects. A sum
//! that rots itself makes a right piece look damaged, never a damaged one right.

use std::ops::Range;

use bytes::{Buf as _, Bytes, BytesMut};
use common::data::object_list::Object;
use common::ids::RunId;
use futures::{StreamExt as _, TryStreamExt as _};

use super::Bucket;
use super::blob_key::BlobKey;
use super::download;
use super::upload::Expected;
use crate::data::{ByteStream, Error, Stored};

/// What one sum is of. Parts are read and checked in whole pieces.
const PIECE_BYTES: usize = 64 << 10;
const SUM_BYTES: usize = size_of::<u32>();

/// Reads a file through that must be the one that was stored, and keeps its sums for a run. Gives
/// the version that an object has whose parts are checked.
///
/// # Errors
/// `Damaged` where the file is another one.
pub async fn make(
    ours: &Bucket,
    file: &BlobKey,
    stored: Stored,
    name: &str,
    run: RunId,
) -> Result<String, Error> {
    let bytes = ours.get(file, 0..stored.size).await?;
    let mut bytes = download::verified(stored.digest, name, bytes);
    let mut sums = Sums::default();
    while let Some(piece) = bytes.try_next().await? {
        sums.add(&piece);
    }
    let key = BlobKey::Sums { run };
    let sums = futures::stream::once(std::future::ready(Ok(sums.finish()))).boxed();
    ours.put(&key, Expected::Nothing, sums).await?;
    Ok(key.path())
}

/// The sums of an object's pieces, where it has any.
pub fn of(object: &Object) -> Option<BlobKey> {
    let key = BlobKey::from_path(object.version.as_deref()?)?;
    matches!(key, BlobKey::Sums { .. }).then_some(key)
}

/// The bytes of a part of a file, which must not be empty. The first piece is checked before there
/// is an answer, and every other one before it is passed on.
///
/// # Errors
/// `Damaged` where the file is not the one that the sums were made of.
pub async fn read(
    ours: &Bucket,
    file: &BlobKey,
    sums: &BlobKey,
    object: &Object,
    part: Range<u64>,
) -> Result<ByteStream, Error> {
    let damaged = || Error::Damaged(object.name.clone());
    let (piece_bytes, sum_bytes) = (PIECE_BYTES as u64, SUM_BYTES as u64);
    let pieces = part.start / piece_bytes..part.end.div_ceil(piece_bytes);
    let wanted = pieces.start * sum_bytes..pieces.end * sum_bytes;
    let sums = ours.get(sums, wanted.clone()).await.map_err(|e| e.map_missing(damaged))?;
    let sums = download::collect(sums, wanted.end - wanted.start).await?;
    let whole = pieces.start * piece_bytes..(pieces.end * piece_bytes).min(object.size);
    let bytes = ours.get(file, whole.clone()).await.map_err(|e| e.map_missing(damaged))?;

    let checked = Checked { bytes, piece: BytesMut::new(), sums, name: object.name.clone() };
    let mut checked = checked.stream();
    let first = checked.try_next().await?.ok_or_else(damaged)?;
    let first = futures::stream::once(std::future::ready(Ok(first)));
    let skip = part.start - whole.start;
    Ok(cut(first.chain(checked).boxed(), skip, part.end - part.start))
}

/// Sums of bytes that pass by.
#[derive(Default)]
struct Sums {
    done: BytesMut,
    hasher: crc32fast::Hasher,
    /// The bytes of the piece that has not ended yet.
    open: usize,
}

impl Sums {
    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.open));
            self.hasher.update(now);
            self.open += now.len();
            bytes = later;
            if self.open == PIECE_BYTES {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        let sum = std::mem::take(&mut self.hasher).finalize();
        self.done.extend_from_slice(&sum.to_le_bytes());
        self.open = 0;
    }

    fn finish(mut self) -> Bytes {
        if self.open > 0 {
            self.end();
        }
        self.done.freeze()
    }
}

/// Whole pieces on their way, and the sums of those that have not come yet.
struct Checked {
    bytes: ByteStream,
    piece: BytesMut,
    sums: Bytes,
    name: String,
}

impl Checked {
    fn stream(self) -> ByteStream {
        futures::stream::try_unfold(self, |mut checked| async move {
            let piece = checked.next().await?;
            Ok(piece.map(|piece| (piece, checked)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while self.piece.len() < PIECE_BYTES {
            let Some(more) = self.bytes.try_next().await? else { break };
            self.piece.extend_from_slice(&more);
        }
        if self.piece.is_empty() {
            return Ok(None);
        }
        let piece = self.piece.split_to(self.piece.len().min(PIECE_BYTES)).freeze();
        let is_right =
            self.sums.len() >= SUM_BYTES && self.sums.get_u32_le() == crc32fast::hash(&piece);
        if is_right { Ok(Some(piece)) } else { Err(Error::Damaged(self.name.clone())) }
    }
}

/// This many bytes of a stream behind the first this many.
fn cut(bytes: ByteStream, skip: u64, take: u64) -> ByteStream {
    let cut = futures::stream::try_unfold(
        (bytes, skip, take),
        |(mut bytes, mut skip, mut left)| async move {
            while left > 0 {
                let Some(mut piece) = bytes.try_next().await? else { break };
                let skipped = piece.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
                piece.advance(skipped);
                skip -= skipped as u64;
                piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                left -= piece.len() as u64;
                if !piece.is_empty() {
                    return Ok(Some((piece, (bytes, skip, left))));
                }
            }
            Ok(None)
        },
    );
    cut.boxed()
}

#[cfg(test)]
mod tests {
    use common::data::object_list::Place;

    use super::*;
    use crate::data::testing::{RUN, S3Server, folder, noise, stream, text};

    const PIECE: u64 = PIECE_BYTES as u64;

    /// Stores a file with its sums.
    async fn summed(bucket: &Bucket, bytes: &[u8]) -> Object {
        let key = BlobKey::Staged { run: RUN, n: 0 };
        let stored = bucket.put(&key, Expected::Nothing, stream(bytes, 10_007)).await.unwrap();
        let version = make(bucket, &key, stored, "in.txt", RUN).await.unwrap();
        let place = Place::Bucket { key: key.path() };
        Object { name: "in.txt".into(), size: stored.size, place, version: Some(version) }
    }

    async fn part(bucket: &Bucket, object: &Object, part: Range<u64>) -> Result<Vec<u8>, Error> {
        let file = BlobKey::Staged { run: RUN, n: 0 };
        text(read(bucket, &file, &of(object).unwrap(), object, part).await?).await
    }

    #[tokio::test]
    async fn parts_of_every_kind_of_border_are_read() {
        let server = S3Server::start().await;
        let (_folder, bucket) = folder().await;
        for bucket in [bucket, server.bucket().await] {
            for len in [1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 5] {
                let bytes = noise(len);
                let object = summed(&bucket, &bytes).await;
                let size = len as u64;
                let edges = [0, 1, 4_000, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, size - 1, size];

                for from in edges {
                    for to in edges.into_iter().filter(|to| *to <= size && from < *to) {
                        let read = part(&bucket, &object, from..to).await.unwrap();

                        let (from, to) = (usize::try_from(from), usize::try_from(to));
                        assert!(read == bytes[from.unwrap()..to.unwrap()], "{len}");
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn damaged_byte_fails_reads_of_its_piece_only() {
        let (folder, bucket) = folder().await;
        let mut bytes = noise(3 * PIECE_BYTES);
        let object = summed(&bucket, &bytes).await;
        bytes[PIECE_BYTES + 7] ^= 1;
        let file = BlobKey::Staged { run: RUN, n: 0 }.path();
        std::fs::write(folder.path().join("bucket").join(file), &bytes).unwrap();

        for damaged in [0..3 * PIECE, PIECE - 1..PIECE + 1, PIECE..PIECE + 1, PIECE + 8..2 * PIECE]
        {
            let read = part(&bucket, &object, damaged.clone()).await;
            assert!(matches!(&read, Err(Error::Damaged(name)) if name == "in.txt"), "{damaged:?}");
        }
        for right in [0..PIECE, 5..9, 2 * PIECE..3 * PIECE] {
            assert!(part(&bucket, &object, right).await.is_ok());
        }
        // Before the first byte is given, so that a node is refused and does not ask again.
        let sums = of(&object).unwrap();
        let file = BlobKey::Staged { run: RUN, n: 0 };
        let opened = read(&bucket, &file, &sums, &object, PIECE..PIECE + 1).await;
        assert!(matches!(opened, Err(Error::Damaged(_))));
    }

    #[tokio::test]
    async fn file_or_sums_that_are_cut_or_missing_are_named() {
        for gone in [false, true] {
            for key in [BlobKey::Staged { run: RUN, n: 0 }, BlobKey::Sums { run: RUN }] {
                let (folder, bucket) = folder().await;
                let object = summed(&bucket, &noise(2 * PIECE_BYTES)).await;
                let path = folder.path().join("bucket").join(key.path());
                if gone {
                    std::fs::remove_file(path).unwrap();
                } else {
                    let bytes = std::fs::read(&path).unwrap();
                    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
                }

                let read = part(&bucket, &object, 0..2 * PIECE).await;

                assert!(matches!(read, Err(Error::Damaged(_))), "{read:?}");
            }
        }
    }

    #[tokio::test]
    async fn sums_are_made_of_the_right_file_only() {
        let (_folder, bucket) = folder().await;
        let key = BlobKey::Staged { run: RUN, n: 0 };
        let stored = bucket.put(&key, Expected::Nothing, stream(b"hello", 2)).await.unwrap();
        bucket.put(&key, Expected::Nothing, stream(b"jello", 2)).await.unwrap();

        let made = make(&bucket, &key, stored, "in.txt", RUN).await;

        assert!(matches!(made, Err(Error::Damaged(_))), "{made:?}");
    }
}
