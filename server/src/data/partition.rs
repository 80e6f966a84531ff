//! The built-in partitioners: they compute where objects are cut, and copy nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use common::chunks::{ChunkTable, CutError};
use common::objects::{Object, Objects};
use common::spec::Partitioner;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::Semaphore;

use super::source::Reader;
use super::{Error, download};

/// The first look for a line's end; each further one reads twice as much, up to a limit that
/// bounds the memory of all reads together.
const LOOK_BYTES: u64 = 4 << 10;
const LOOK_BYTES_MAX: u64 = 1 << 20;
/// Longest line that is looked through beyond the border that was asked for.
const LINE_BYTES_MAX: u64 = 64 << 20;
const READS_AT_ONCE: usize = 16;
/// Objects whose borders are found at the same time; their reads share the same places.
const OBJECTS_AT_ONCE: usize = 16;
/// Below this distance of borders, one look at each would read most of the object anyway, piece
/// by piece: it is read through once instead.
const SCAN_BELOW_BYTES: u64 = 64 << 10;
/// Borders that depend on the data are kept in memory, one number each.
const LINE_CHUNKS_MAX: u64 = 1 << 24;

/// Cuts objects.
///
/// # Errors
/// `Customer` where the data cannot be cut so, and whatever reading it says.
pub async fn partition(
    reader: &Reader,
    partitioner: Partitioner,
    objects: Objects,
) -> Result<ChunkTable, Error> {
    match partitioner {
        Partitioner::Passthrough | Partitioner::File => Ok(ChunkTable::whole(objects)),
        Partitioner::Replicate { copies } => ChunkTable::copies(objects, copies),
        Partitioner::Bytes { bytes } => ChunkTable::every(objects, bytes),
        Partitioner::Lines { bytes: 0 } => Err(CutError::NoBytes),
        Partitioner::Lines { bytes } => {
            let (starts, counts) = lines(reader, &objects, bytes).await?;
            ChunkTable::at(objects, starts, &counts)
        }
    }
    .map_err(|error| Error::Customer(format!("params.partitioner: {error}")))
}

/// Where the chunks of lines begin, and how many each object has.
async fn lines(
    reader: &Reader,
    objects: &Objects,
    bytes: u64,
) -> Result<(Vec<u64>, Vec<u32>), Error> {
    let reads = Semaphore::new(READS_AT_ONCE);
    let lines = Lines { reader, bytes, reads: &reads };
    let mut found = futures::stream::iter(objects)
        .map(|object| async move { lines.starts(&object).await })
        .buffered(OBJECTS_AT_ONCE);
    let (mut starts, mut counts) = (Vec::new(), Vec::new());
    while let Some(own) = found.try_next().await? {
        if (starts.len() + own.len()) as u64 > LINE_CHUNKS_MAX {
            return Err(too_many(bytes));
        }
        counts.push(u32::try_from(own.len()).map_err(|_| too_many(bytes))?);
        starts.extend(own);
    }
    Ok((starts, counts))
}

fn too_many(bytes: u64) -> Error {
    Error::Customer(format!(
        "params.partitioner.chunk_bytes: chunks of {bytes} bytes would be more than \
         {LINE_CHUNKS_MAX}; ask for larger ones"
    ))
}

/// Finds where lines begin.
#[derive(Clone, Copy)]
struct Lines<'a> {
    reader: &'a Reader,
    /// About how many bytes a chunk should have.
    bytes: u64,
    /// Bounds the memory of all reads together.
    reads: &'a Semaphore,
}

impl Lines<'_> {
    /// The starts of an object's chunks: 0, and at or after each multiple of `bytes` where the
    /// next line begins.
    async fn starts(self, object: &Object) -> Result<Vec<u64>, Error> {
        if object.size == 0 {
            return Ok(Vec::new());
        }
        if object.size <= self.bytes {
            return Ok(vec![0]);
        }
        if object.size.div_ceil(self.bytes) > LINE_CHUNKS_MAX {
            return Err(too_many(self.bytes));
        }
        if self.bytes < SCAN_BELOW_BYTES {
            self.scan(object).await
        } else {
            self.look(object).await
        }
    }

    /// Finds the starts with a small read at each, several at a time.
    async fn look(self, object: &Object) -> Result<Vec<u64>, Error> {
        // Wishes that lie in a line whose end is known already are not read for.
        let reached = AtomicU64::new(0);
        let wishes = (1..object.size.div_ceil(self.bytes)).map(|n| n * self.bytes);
        let mut found = futures::stream::iter(wishes)
            .filter(|wish| std::future::ready(*wish > reached.load(Ordering::Relaxed)))
            .map(|wish| self.line_start(object, wish))
            .buffered(READS_AT_ONCE);
        let mut starts = vec![0];
        while let Some(start) = found.try_next().await? {
            if start < object.size && starts.last().is_none_or(|last| *last < start) {
                starts.push(start);
            }
            reached.fetch_max(start, Ordering::Relaxed);
        }
        Ok(starts)
    }

    /// The first start of a line at or after `wish`, or the object's end.
    async fn line_start(self, object: &Object, wish: u64) -> Result<u64, Error> {
        let _turn = self.reads.acquire().await;
        // The byte before decides whether a line starts at the wish itself.
        let (mut from, mut window) = (wish - 1, LOOK_BYTES);
        while from < object.size {
            if from.saturating_sub(wish) >= LINE_BYTES_MAX {
                return Err(long_line(object, wish));
            }
            let to = (from + window).min(object.size);
            let read = self.reader.read(object, from..to).await?;
            let piece = download::collect(read, window).await?;
            if let Some(at) = memchr::memchr(b'\n', &piece) {
                return Ok(from + at as u64 + 1);
            }
            (from, window) = (to, (window * 2).min(LOOK_BYTES_MAX));
        }
        Ok(object.size)
    }

    /// Finds the starts in one pass.
    async fn scan(self, object: &Object) -> Result<Vec<u64>, Error> {
        let _turn = self.reads.acquire().await;
        let mut starts = vec![0];
        let mut wish = self.bytes;
        let mut at = 0u64;
        let mut pieces = self.reader.read(object, 0..object.size).await?;
        while let Some(piece) = pieces.try_next().await? {
            let end = at + piece.len() as u64;
            while wish < object.size && wish <= end {
                let skip = usize::try_from((wish - 1).saturating_sub(at)).unwrap_or(usize::MAX);
                let Some(found) = memchr::memchr(b'\n', piece.get(skip..).unwrap_or_default())
                else {
                    break;
                };
                let start = at + (skip + found) as u64 + 1;
                if start < object.size {
                    starts.push(start);
                }
                wish = (start / self.bytes + 1) * self.bytes;
            }
            at = end;
            if wish < object.size && at.saturating_sub(wish) > LINE_BYTES_MAX {
                return Err(long_line(object, wish));
            }
        }
        Ok(starts)
    }
}

fn long_line(object: &Object, at: u64) -> Error {
    Error::Customer(format!(
        "params.partitioner: {:?} has a line longer than {} MiB around byte {at}; partition it by \
         bytes instead, or give it line ends",
        object.shown(),
        LINE_BYTES_MAX >> 20
    ))
}

#[cfg(test)]
#[path = "partition/tests.rs"]
mod tests;
