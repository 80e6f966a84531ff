//! Where chunks begin that end where records end: small reads around each border that is asked
//! for, and nothing is copied.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use common::data::object_list::{Object, Objects};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::Semaphore;

use super::{csv, lines, tar};
use crate::data::bucket::download;
use crate::data::source::Reader;
use crate::data::{ByteStream, Error};

/// The first look for a record's end; each further one reads twice as much, up to a limit that
/// bounds the memory of all reads together. Both are whole units of any text.
pub const LOOK_BYTES: u64 = 4 << 10;
pub const LOOK_BYTES_MAX: u64 = 1 << 20;
/// Longest record that is looked through beyond the border that was asked for.
pub const RECORD_BYTES_MAX: u64 = 64 << 20;
/// Below this distance of borders, one look at each would read most of the object anyway, piece
/// by piece: it is read through once instead.
pub const SCAN_BELOW_BYTES: u64 = 64 << 10;
const READS_AT_ONCE: usize = 16;
/// Objects whose borders are found at the same time; their reads share the same places.
const OBJECTS_AT_ONCE: usize = 16;
/// Borders that depend on the data are kept in memory, one number each.
const CHUNKS_MAX: u64 = 1 << 24;

/// What is never divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    Lines,
    Csv,
    /// The members of tar archives.
    Tar,
}

/// Where the chunks of records begin, and how many each object has.
pub async fn cut(
    reader: &Reader,
    objects: &Objects,
    records: Records,
    bytes: u64,
) -> Result<(Vec<u64>, Vec<u32>), Error> {
    let reads = Semaphore::new(READS_AT_ONCE);
    let borders = Borders { reader, bytes, reads: &reads };
    let mut found = futures::stream::iter(objects)
        .map(|object| async move { borders.starts(&object, records).await })
        .buffered(OBJECTS_AT_ONCE);
    let (mut starts, mut counts) = (Vec::new(), Vec::new());
    while let Some(own) = found.try_next().await? {
        if (starts.len() + own.len()) as u64 > CHUNKS_MAX {
            return Err(too_many(bytes));
        }
        counts.push(u32::try_from(own.len()).map_err(|_| too_many(bytes))?);
        starts.extend(own);
    }
    Ok((starts, counts))
}

/// Finds where chunks begin.
#[derive(Clone, Copy)]
pub struct Borders<'a> {
    pub reader: &'a Reader,
    /// About how many bytes a chunk should have.
    pub bytes: u64,
    /// Bounds the memory of all reads together.
    pub reads: &'a Semaphore,
}

/// No record ends in `RECORD_BYTES_MAX` bytes from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong(pub u64);

impl Borders<'_> {
    /// The starts of an object's chunks: 0, and at or after each multiple of `bytes` where the
    /// next record begins. An object that has no such records is one chunk.
    pub async fn starts(self, object: &Object, records: Records) -> Result<Vec<u64>, Error> {
        if object.size == 0 {
            return Ok(Vec::new());
        }
        if object.size <= self.bytes {
            return Ok(vec![0]);
        }
        if object.size.div_ceil(self.bytes) > CHUNKS_MAX {
            return Err(too_many(self.bytes));
        }
        match records {
            Records::Lines => lines::starts(self, object).await,
            Records::Csv => csv::starts(self, object).await,
            Records::Tar => tar::starts(self, object).await,
        }
    }

    /// Whether a look at each border reads far less than all of the object.
    pub const fn are_far_apart(self) -> bool {
        self.bytes >= SCAN_BELOW_BYTES
    }

    /// The first bytes of an object, at most this many.
    pub async fn head(self, object: &Object, most: u64) -> Result<Bytes, Error> {
        let _turn = self.reads.acquire().await;
        self.read(object, 0, most).await
    }

    /// At most this many bytes of an object.
    pub async fn read(self, object: &Object, from: u64, most: u64) -> Result<Bytes, Error> {
        let to = (from + most).min(object.size);
        download::collect(self.reader.read(object, from..to).await?, most).await
    }

    /// All bytes of an object.
    pub async fn read_through(self, object: &Object) -> Result<ByteStream, Error> {
        self.reader.read(object, 0..object.size).await
    }

    /// Finds the starts with a small read at each wish, several at a time: `start_at` gives where
    /// the first record at or after a wish begins, or why that cannot be told.
    pub async fn look<Stop, Start>(
        self,
        object: &Object,
        wishes: impl Iterator<Item = u64>,
        start_at: impl Fn(u64) -> Start,
    ) -> Result<Result<Vec<u64>, Stop>, Error>
    where
        Start: Future<Output = Result<Result<Option<u64>, Stop>, Error>>,
    {
        // Wishes that lie in a record whose end is known already are not read for.
        let reached = AtomicU64::new(0);
        let mut found = futures::stream::iter(wishes)
            .filter(|wish| std::future::ready(*wish > reached.load(Ordering::Relaxed)))
            .map(start_at)
            .buffered(READS_AT_ONCE);
        let mut starts = vec![0];
        while let Some(start) = found.try_next().await? {
            let start = match start {
                Ok(start) => start.unwrap_or(object.size),
                Err(stop) => return Ok(Err(stop)),
            };
            if start < object.size && starts.last().is_none_or(|last| *last < start) {
                starts.push(start);
            }
            reached.fetch_max(start, Ordering::Relaxed);
        }
        Ok(Ok(starts))
    }
}

fn too_many(bytes: u64) -> Error {
    Error::Customer(format!(
        "params.partitioner.chunk_bytes: chunks of {bytes} bytes would be more than {CHUNKS_MAX}; \
         ask for larger ones"
    ))
}
