//! The built-in partitioners: they compute where objects are cut, and copy nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use common::chunks::{ChunkTable, CutError, Object};
use common::spec::Partitioner;
use futures::{StreamExt as _, TryStreamExt as _};

use super::source::Reader;
use super::{Error, download};

/// The first look for a line's end; each further one reads twice as much, up to a limit that
/// bounds the memory of all reads together.
const LOOK_BYTES: u64 = 4 << 10;
const LOOK_BYTES_MAX: u64 = 1 << 20;
/// Longest line that is looked through beyond the border that was asked for.
const LINE_BYTES_MAX: u64 = 64 << 20;
const READS_AT_ONCE: usize = 16;
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
    objects: Vec<Object>,
) -> Result<ChunkTable, Error> {
    match partitioner {
        Partitioner::Passthrough | Partitioner::File => ChunkTable::whole(objects),
        Partitioner::Replicate { copies } => ChunkTable::copies(objects, copies),
        Partitioner::Bytes { bytes } => ChunkTable::every(objects, bytes),
        Partitioner::Lines { bytes: 0 } => Err(CutError::NoBytes),
        Partitioner::Lines { bytes } => {
            let mut borders = Vec::with_capacity(objects.len());
            for object in &objects {
                borders.push(line_borders(reader, object, bytes).await?);
            }
            ChunkTable::at(objects, borders)
        }
    }
    .map_err(|error| Error::Customer(format!("params.partitioner: {error}")))
}

/// The borders of an object: at or after each multiple of `bytes`, where the next line starts.
async fn line_borders(reader: &Reader, object: &Object, bytes: u64) -> Result<Vec<u64>, Error> {
    if object.size.div_ceil(bytes) > LINE_CHUNKS_MAX {
        return Err(Error::Customer(format!(
            "params.partitioner.chunk_bytes: chunks of {bytes} bytes would cut {:?} into more \
             than {LINE_CHUNKS_MAX}; ask for larger ones",
            object.name
        )));
    }
    let mut borders = if bytes < SCAN_BELOW_BYTES {
        scan(reader, object, bytes).await?
    } else {
        look(reader, object, bytes).await?
    };
    if object.size > 0 {
        borders.push(object.size);
    }
    Ok(borders)
}

/// Finds the inner borders with a small read at each, several at a time.
async fn look(reader: &Reader, object: &Object, bytes: u64) -> Result<Vec<u64>, Error> {
    // Wishes that lie in a line whose end is known already are not read for.
    let reached = AtomicU64::new(0);
    let wishes = (1..object.size.div_ceil(bytes)).map(|n| n * bytes);
    let mut found = futures::stream::iter(wishes)
        .filter(|wish| std::future::ready(*wish > reached.load(Ordering::Relaxed)))
        .map(|wish| line_start(reader, object, wish))
        .buffered(READS_AT_ONCE);
    let mut borders = vec![0];
    while let Some(border) = found.try_next().await? {
        if border < object.size && borders.last().is_none_or(|last| *last < border) {
            borders.push(border);
        }
        reached.fetch_max(border, Ordering::Relaxed);
    }
    Ok(borders)
}

/// The first start of a line at or after `wish`, or the object's end.
async fn line_start(reader: &Reader, object: &Object, wish: u64) -> Result<u64, Error> {
    // The byte before decides whether a line starts at the wish itself.
    let (mut from, mut window) = (wish - 1, LOOK_BYTES);
    while from < object.size {
        if from.saturating_sub(wish) >= LINE_BYTES_MAX {
            return Err(long_line(object, wish));
        }
        let to = (from + window).min(object.size);
        let piece = download::collect(reader.read(object, from..to).await?, window).await?;
        if let Some(at) = memchr::memchr(b'\n', &piece) {
            return Ok(from + at as u64 + 1);
        }
        (from, window) = (to, (window * 2).min(LOOK_BYTES_MAX));
    }
    Ok(object.size)
}

/// Finds the inner borders in one pass.
async fn scan(reader: &Reader, object: &Object, bytes: u64) -> Result<Vec<u64>, Error> {
    let mut borders = vec![0];
    let mut wish = bytes;
    let mut at = 0u64;
    let mut pieces = reader.read(object, 0..object.size).await?;
    while let Some(piece) = pieces.try_next().await? {
        let end = at + piece.len() as u64;
        while wish < object.size && wish <= end {
            let skip = usize::try_from((wish - 1).saturating_sub(at)).unwrap_or(usize::MAX);
            let Some(found) = memchr::memchr(b'\n', piece.get(skip..).unwrap_or_default()) else {
                break;
            };
            let border = at + (skip + found) as u64 + 1;
            if border < object.size {
                borders.push(border);
            }
            wish = (border / bytes + 1) * bytes;
        }
        at = end;
        if wish < object.size && at.saturating_sub(wish) > LINE_BYTES_MAX {
            return Err(long_line(object, wish));
        }
    }
    Ok(borders)
}

fn long_line(object: &Object, at: u64) -> Error {
    Error::Customer(format!(
        "params.partitioner: {:?} has a line longer than {} MiB around byte {at}; partition it by \
         bytes instead, or give it line ends",
        object.name,
        LINE_BYTES_MAX >> 20
    ))
}
