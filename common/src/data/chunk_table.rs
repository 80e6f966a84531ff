//! How data is cut: chunks are ranges of objects, computed when they are asked for.
//!
//! A table of a million equal chunks is a few words long; a table with record-aligned borders
//! holds one number a chunk. Nothing here reads data.

use serde::{Deserialize, Serialize};

use crate::data::object_list::{Object, Objects};

/// The chunks of a run: objects, and where they are cut.
///
/// ```
/// use common::data::chunk_table::ChunkTable;
/// use common::data::object_list::{Object, Objects, Place};
///
/// let place = Place::Source { path: "in/words.txt".to_owned() };
/// let object = Object { name: "words.txt".to_owned(), size: 2_500, place, version: None };
/// let table = ChunkTable::every(Objects::pack(&[object])?, 1_000)?;
///
/// let last = table.get(2).unwrap();
/// assert_eq!((last.from, last.to), (2_000, 2_500));
/// assert_eq!((table.len(), table.get(3)), (3, None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkTable {
    objects: Objects,
    cut: Cut,
    /// Chunks beyond this many are left out.
    limit: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Cut {
    /// Each object is one chunk.
    Whole,
    /// Each object is this many chunks, every one of them the whole object.
    Copies(u32),
    /// Each object is cut every this many bytes; `first[i]` is the number of chunks before object i.
    Every { bytes: u64, first: Vec<u32> },
    /// Chunk i begins at `starts[i]` of its object and ends where the next of it begins.
    At { starts: Vec<u64>, first: Vec<u32>, longest: u64 },
}

/// One chunk: the bytes `from..to` of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub object: Object,
    pub from: u64,
    pub to: u64,
}

impl Chunk {
    pub const fn len(&self) -> u64 {
        self.to - self.from
    }

    pub const fn is_empty(&self) -> bool {
        self.to == self.from
    }
}

/// The data cannot be cut so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CutError {
    #[error("this would make more than {} chunks; ask for larger ones", u32::MAX)]
    TooMany,
    #[error("a chunk must have at least one byte")]
    NoBytes,
    #[error("the borders do not rise from 0 to the sizes of the objects")]
    Borders,
}

impl ChunkTable {
    const fn new(objects: Objects, cut: Cut) -> Self {
        Self { objects, cut, limit: u32::MAX }
    }

    /// One chunk for each object, empty ones included.
    pub fn whole(objects: Objects) -> Self {
        Self::new(objects, Cut::Whole)
    }

    /// `copies` chunks for each object, every one the whole of it.
    pub fn copies(objects: Objects, copies: u32) -> Result<Self, CutError> {
        objects.len().checked_mul(copies).ok_or(CutError::TooMany)?;
        Ok(Self::new(objects, Cut::Copies(copies)))
    }

    /// Chunks of `bytes` bytes, the last of each object shorter; an empty object gives none.
    pub fn every(objects: Objects, bytes: u64) -> Result<Self, CutError> {
        if bytes == 0 {
            return Err(CutError::NoBytes);
        }
        let first = firsts(objects.iter().map(|object| object.size.div_ceil(bytes)))?;
        Ok(Self::new(objects, Cut::Every { bytes, first }))
    }

    /// Chunks that begin at given offsets: for each object as many as `counts` says, rising from
    /// 0. An empty object has none.
    pub fn at(objects: Objects, starts: Vec<u64>, counts: &[u32]) -> Result<Self, CutError> {
        let first = firsts(counts.iter().map(|n| u64::from(*n)))?;
        let (mut left, mut longest) = (starts.as_slice(), 0);
        let rising = counts.iter().zip(&objects).all(|(n, object)| {
            left.split_off(..*n as usize).is_some_and(|own| {
                let ends = own.iter().skip(1).chain([&object.size]);
                let lengths = own.iter().zip(ends).map(|(from, to)| to.saturating_sub(*from));
                longest = longest.max(lengths.max().unwrap_or(0));
                is_rising(own, object.size)
            })
        });
        if !rising || !left.is_empty() || counts.len() != objects.len() as usize {
            return Err(CutError::Borders);
        }
        Ok(Self::new(objects, Cut::At { starts, first, longest }))
    }

    /// The first `chunks` chunks alone.
    #[must_use]
    pub fn head(mut self, chunks: u32) -> Self {
        self.limit = self.limit.min(chunks);
        self
    }

    /// The number of chunks.
    pub fn len(&self) -> u32 {
        match &self.cut {
            Cut::Whole => self.objects.len(),
            Cut::Copies(copies) => self.objects.len().saturating_mul(*copies),
            Cut::Every { first, .. } | Cut::At { first, .. } => first.last().copied().unwrap_or(0),
        }
        .min(self.limit)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// No chunk has more bytes.
    pub fn longest(&self) -> u64 {
        match &self.cut {
            Cut::Whole | Cut::Copies(_) => self.objects.largest(),
            Cut::Every { bytes, .. } => self.objects.largest().min(*bytes),
            Cut::At { longest, .. } => *longest,
        }
    }

    /// Chunk `index`, or `None` past the last.
    pub fn get(&self, index: u32) -> Option<Chunk> {
        if index >= self.len() {
            return None;
        }
        let whole = |n: u32| {
            let object = self.objects.get(n)?;
            Some(Chunk { from: 0, to: object.size, object })
        };
        match &self.cut {
            Cut::Whole => whole(index),
            Cut::Copies(copies) => whole(index / copies),
            Cut::Every { bytes, first } => {
                let (at, nth) = locate(first, index)?;
                let object = self.objects.get(at)?;
                let from = u64::from(nth).checked_mul(*bytes)?;
                let to = from.saturating_add(*bytes).min(object.size);
                (from <= to).then_some(Chunk { from, to, object })
            }
            Cut::At { starts, first, .. } => {
                let (at, _) = locate(first, index)?;
                let object = self.objects.get(at)?;
                let from = *starts.get(index as usize)?;
                let next = starts.get(index as usize + 1);
                let is_last = first.get(at as usize + 1) == Some(&(index + 1));
                let to = if is_last { object.size } else { *next? };
                (from <= to).then_some(Chunk { from, to, object })
            }
        }
    }
}

/// Whether these are the starts of chunks that cover this many bytes.
fn is_rising(starts: &[u64], size: u64) -> bool {
    match (starts.first(), starts.last()) {
        (Some(first), Some(last)) => {
            *first == 0 && *last < size && starts.windows(2).all(|pair| pair[0] < pair[1])
        }
        (None, _) | (_, None) => size == 0,
    }
}

/// Running totals of the counts, starting with 0: one more entry than there are counts.
fn firsts(counts: impl Iterator<Item = u64>) -> Result<Vec<u32>, CutError> {
    let mut total = 0u32;
    let mut first = vec![0];
    for n in counts {
        total =
            u32::try_from(n).ok().and_then(|n| total.checked_add(n)).ok_or(CutError::TooMany)?;
        first.push(total);
    }
    Ok(first)
}

/// The object that chunk `index` lies in, and its number within the object.
/// `None` only of a table that was damaged where it is stored.
fn locate(first: &[u32], index: u32) -> Option<(u32, u32)> {
    let at = first.partition_point(|n| *n <= index).checked_sub(1)?;
    Some((u32::try_from(at).ok()?, index.checked_sub(first[at])?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::object_list::Place;

    fn objects(sizes: &[u64]) -> Objects {
        let object = |(i, size): (usize, &u64)| Object {
            name: format!("o{i}"),
            size: *size,
            place: Place::Empty,
            version: None,
        };
        let objects: Vec<_> = sizes.iter().enumerate().map(object).collect();
        Objects::pack(&objects).unwrap()
    }

    proptest! {
        #[test]
        fn chunk_table_has_each_byte_in_exactly_one_chunk(
            sizes in proptest::collection::vec(0..100u64, 0..8),
            bytes in 1..40u64,
        ) {
            let table = ChunkTable::every(objects(&sizes), bytes).unwrap();
            let mut covered: Vec<u64> = vec![0; sizes.len()];
            for i in 0..table.len() {
                let chunk = table.get(i).unwrap();
                let at: usize = chunk.object.name[1..].parse().unwrap();
                prop_assert_eq!(chunk.from, covered[at]);
                prop_assert!(!chunk.is_empty() && chunk.len() <= bytes);
                covered[at] = chunk.to;
            }

            let lengths = (0..table.len()).filter_map(|i| table.get(i)).map(|chunk| chunk.len());
            prop_assert_eq!(table.longest(), lengths.max().unwrap_or(0));
            prop_assert_eq!(covered, sizes);
            prop_assert_eq!(table.get(table.len()), None);
        }
    }

    #[test]
    fn chunk_table_head_is_its_first_chunks() {
        let table = ChunkTable::every(objects(&[10, 10]), 4).unwrap();

        let head = table.clone().head(4);

        assert_eq!((table.len(), head.len()), (6, 4));
        assert_eq!((head.get(3), head.get(4)), (table.get(3), None));
        assert_eq!(head.clone().head(9).len(), 4);
    }

    #[test]
    fn chunk_table_is_cut_at_its_borders() {
        let table = ChunkTable::at(objects(&[10, 0, 5]), vec![0, 4, 0], &[2, 0, 1]).unwrap();
        let ranges: Vec<_> =
            (0..table.len()).map(|i| table.get(i).unwrap()).map(|c| (c.from, c.to)).collect();

        assert_eq!(ranges, [(0, 4), (4, 10), (0, 5)]);
        assert_eq!(table.longest(), 6);
        assert_eq!(table.get(2).unwrap().object.name, "o2");
    }

    #[test]
    fn chunk_table_refuses_borders_that_do_not_rise() {
        for (starts, count) in
            [(vec![], 0), (vec![0, 10], 2), (vec![0, 6, 6], 3), (vec![1], 1), (vec![0], 2)]
        {
            assert!(ChunkTable::at(objects(&[10]), starts, &[count]).is_err());
        }
        assert_eq!(ChunkTable::every(objects(&[u64::MAX]), 1), Err(CutError::TooMany));
    }

    #[test]
    fn chunk_table_copies_repeat_each_object() {
        let table = ChunkTable::copies(objects(&[3, 4, 5]), 2).unwrap();
        let names: Vec<_> = (0..table.len()).map(|i| table.get(i).unwrap().object.name).collect();

        assert_eq!(names, ["o0", "o0", "o1", "o1", "o2", "o2"]);
        assert_eq!(table.longest(), 5);
    }
}
