//! Chunks that end where lines end: small reads around each border that is asked for.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use common::data::object_list::{Object, Objects};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::Semaphore;

use super::kind::{Kind, LineEnd, kind};
use crate::data::Error;
use crate::data::bucket::download;
use crate::data::source::Reader;

/// What is read of an object to see what it is.
const HEAD_BYTES: u64 = 4 << 10;
/// The first look for a line's end; each further one reads twice as much, up to a limit that
/// bounds the memory of all reads together. Both are whole units of any text.
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

/// Where the chunks of lines begin, and how many each object has.
pub async fn cut(
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

/// Finds where lines begin.
#[derive(Clone, Copy)]
struct Lines<'a> {
    reader: &'a Reader,
    /// About how many bytes a chunk should have.
    bytes: u64,
    /// Bounds the memory of all reads together.
    reads: &'a Semaphore,
}

/// Where a search for line ends has come to.
#[derive(Debug, PartialEq, Eq)]
enum Found<T> {
    This(T),
    /// There is no line end in this many bytes around this one.
    TooLong(u64),
}

impl Lines<'_> {
    /// The starts of an object's chunks: 0, and at or after each multiple of `bytes` where the
    /// next line begins. An object that is no text is one chunk.
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
        let Kind::Text(end) = kind(&self.head(object).await?) else { return Ok(vec![0]) };
        let found = self.starts_by(object, end).await?;
        if let Found::This(starts) = &found
            && starts.len() > 1
        {
            return Ok(starts.clone());
        }
        let first_line = match found {
            Found::This(_) => self.line_start(object, 0, end).await?,
            Found::TooLong(at) => Found::TooLong(at),
        };
        let is_one_line = first_line == Found::This(Some(object.size));
        // Files of old Macs, and some instruments, have carriage returns alone, or nearly.
        if end == LineEnd::Lf
            && (is_one_line || !matches!(first_line, Found::This(Some(_))))
            && let Some(starts) = self.starts_by_returns(object).await?
        {
            return Ok(starts);
        }
        match first_line {
            Found::This(Some(_)) => Ok(vec![0]),
            Found::This(None) => Err(no_lines(object)),
            Found::TooLong(at) => Err(long_line(object, at)),
        }
    }

    /// The starts by carriage returns, of which there must be one before the object's last two
    /// bytes: these may be the end of its only line.
    async fn starts_by_returns(self, object: &Object) -> Result<Option<Vec<u64>>, Error> {
        let within = object.size.saturating_sub(1);
        match self.line_start(object, 0, LineEnd::Cr).await? {
            Found::This(Some(first)) if first < within => {}
            Found::This(_) | Found::TooLong(_) => return Ok(None),
        }
        let Found::This(mut starts) = self.starts_by(object, LineEnd::Cr).await? else {
            return Ok(None);
        };
        starts.retain(|start| *start < within);
        Ok(Some(starts))
    }

    async fn head(self, object: &Object) -> Result<Bytes, Error> {
        let _turn = self.reads.acquire().await;
        let read = self.reader.read(object, 0..object.size.min(HEAD_BYTES)).await?;
        download::collect(read, HEAD_BYTES).await
    }

    async fn starts_by(self, object: &Object, end: LineEnd) -> Result<Found<Vec<u64>>, Error> {
        if self.bytes < SCAN_BELOW_BYTES {
            self.scan(object, end).await
        } else {
            self.look(object, end).await
        }
    }

    /// Finds the starts with a small read at each, several at a time.
    async fn look(self, object: &Object, end: LineEnd) -> Result<Found<Vec<u64>>, Error> {
        // Wishes that lie in a line whose end is known already are not read for.
        let reached = AtomicU64::new(0);
        let wishes = (1..object.size.div_ceil(self.bytes)).map(|n| at_unit(n * self.bytes, end));
        let mut found = futures::stream::iter(wishes)
            .filter(|wish| std::future::ready(*wish > reached.load(Ordering::Relaxed)))
            .map(|wish| self.line_start(object, wish, end))
            .buffered(READS_AT_ONCE);
        let mut starts = vec![0];
        while let Some(start) = found.try_next().await? {
            let start = match start {
                Found::This(start) => start.unwrap_or(object.size),
                Found::TooLong(at) => return Ok(Found::TooLong(at)),
            };
            if start < object.size && starts.last().is_none_or(|last| *last < start) {
                starts.push(start);
            }
            reached.fetch_max(start, Ordering::Relaxed);
        }
        Ok(Found::This(starts))
    }

    /// The first start of a line at or after `wish`, which is at a unit's border; `None` where no
    /// line ends from there on.
    async fn line_start(
        self,
        object: &Object,
        wish: u64,
        end: LineEnd,
    ) -> Result<Found<Option<u64>>, Error> {
        let _turn = self.reads.acquire().await;
        // The unit before decides whether a line starts at the wish itself.
        let (mut from, mut window) = (wish.saturating_sub(end.width() as u64), LOOK_BYTES);
        while from < object.size {
            if from.saturating_sub(wish) >= LINE_BYTES_MAX {
                return Ok(Found::TooLong(wish));
            }
            let to = (from + window).min(object.size);
            let read = self.reader.read(object, from..to).await?;
            let piece = download::collect(read, window).await?;
            if let Some(behind) = end.find(&piece) {
                return Ok(Found::This(Some(from + behind as u64)));
            }
            (from, window) = (to, (window * 2).min(LOOK_BYTES_MAX));
        }
        Ok(Found::This(None))
    }

    /// Finds the starts in one pass.
    async fn scan(self, object: &Object, end: LineEnd) -> Result<Found<Vec<u64>>, Error> {
        let _turn = self.reads.acquire().await;
        let width = end.width() as u64;
        let mut starts = vec![0];
        let mut wish = at_unit(self.bytes, end);
        let mut at = 0u64;
        let mut units = Units { rest: BytesMut::new(), width: end.width() };
        let mut pieces = self.reader.read(object, 0..object.size).await?;
        while let Some(piece) = pieces.try_next().await? {
            let piece = units.whole(piece);
            let next = at + piece.len() as u64;
            while wish < object.size && wish <= next {
                let skip = (wish - width).saturating_sub(at);
                let skip = usize::try_from(skip).unwrap_or(usize::MAX);
                let Some(behind) = end.find(piece.get(skip..).unwrap_or_default()) else { break };
                let start = at + (skip + behind) as u64;
                if start < object.size {
                    starts.push(start);
                }
                wish = at_unit((start / self.bytes + 1) * self.bytes, end);
            }
            at = next;
            if wish < object.size && at.saturating_sub(wish) > LINE_BYTES_MAX {
                return Ok(Found::TooLong(wish));
            }
        }
        Ok(Found::This(starts))
    }
}

/// Makes pieces of whole units.
struct Units {
    rest: BytesMut,
    width: usize,
}

impl Units {
    fn whole(&mut self, piece: Bytes) -> Bytes {
        let odd = (self.rest.len() + piece.len()) % self.width;
        if self.rest.is_empty() && odd == 0 {
            return piece;
        }
        self.rest.extend_from_slice(&piece);
        self.rest.split_to(self.rest.len() - odd).freeze()
    }
}

/// The border of a unit at or after a byte.
fn at_unit(byte: u64, end: LineEnd) -> u64 {
    byte.next_multiple_of(end.width() as u64)
}

fn too_many(bytes: u64) -> Error {
    Error::Customer(format!(
        "params.partitioner.chunk_bytes: chunks of {bytes} bytes would be more than \
         {LINE_CHUNKS_MAX}; ask for larger ones"
    ))
}

fn no_lines(object: &Object) -> Error {
    Error::Customer(format!(
        "params.partitioner: {:?} has no line ends; partition it by bytes instead, or whole \
         (partitioner file)",
        object.shown()
    ))
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
mod tests;
