//! How data is cut: chunks are ranges of objects, computed when they are asked for.
//!
//! A table of a million equal chunks is a few words long; a table with record-aligned borders
//! holds one number a chunk. Nothing here reads data.

use serde::{Deserialize, Serialize};

/// Where an object's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Place {
    /// In the job's own data source, at this path (an S3 key, or the URL itself).
    Source { path: String },
    /// In Fanfold's bucket, under this key.
    Bucket { key: String },
    /// Nowhere: an object of no bytes, as a `bypass` source gives.
    Empty,
}

/// An object that a run reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// Its file name, without folders.
    pub name: String,
    pub size: u64,
    pub place: Place,
}

/// The chunks of a run: objects, and where they are cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkTable {
    objects: Vec<Object>,
    cut: Cut,
    /// Chunks beyond so many are left out.
    limit: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Cut {
    /// Each object is one chunk.
    Whole,
    /// Each object is so many chunks, every one of them the whole object.
    Copies(u32),
    /// Each object is cut every so many bytes; `first[i]` is the number of chunks before object i.
    Every { bytes: u64, first: Vec<u32> },
    /// Object i is cut at `borders[i]`, rising offsets from 0 to its size.
    At { borders: Vec<Vec<u64>>, first: Vec<u32> },
}

/// One chunk: the bytes `from..to` of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    pub object: &'a Object,
    pub from: u64,
    pub to: u64,
}

impl Chunk<'_> {
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
    #[error("the borders of {object:?} do not rise from 0 to its size")]
    Borders { object: String },
}

impl ChunkTable {
    const fn new(objects: Vec<Object>, cut: Cut) -> Self {
        Self { objects, cut, limit: u32::MAX }
    }

    /// One chunk for each object, empty ones included.
    pub fn whole(objects: Vec<Object>) -> Result<Self, CutError> {
        u32::try_from(objects.len()).map_err(|_| CutError::TooMany)?;
        Ok(Self::new(objects, Cut::Whole))
    }

    /// `copies` chunks for each object, every one the whole of it.
    pub fn copies(objects: Vec<Object>, copies: u32) -> Result<Self, CutError> {
        u32::try_from(objects.len())
            .ok()
            .and_then(|n| n.checked_mul(copies))
            .ok_or(CutError::TooMany)?;
        Ok(Self::new(objects, Cut::Copies(copies)))
    }

    /// Chunks of `bytes` bytes, the last of each object shorter; an empty object gives none.
    pub fn every(objects: Vec<Object>, bytes: u64) -> Result<Self, CutError> {
        if bytes == 0 {
            return Err(CutError::NoBytes);
        }
        let first = firsts(objects.iter().map(|object| object.size.div_ceil(bytes)))?;
        Ok(Self::new(objects, Cut::Every { bytes, first }))
    }

    /// Chunks between given borders: for each object, rising offsets that start with 0 and end
    /// with its size. An empty object has the single border 0 and gives no chunk.
    pub fn at(objects: Vec<Object>, borders: Vec<Vec<u64>>) -> Result<Self, CutError> {
        let rising = |object: &Object, at: &[u64]| {
            at.first() == Some(&0)
                && at.last() == Some(&object.size)
                && at.windows(2).all(|pair| pair[0] < pair[1])
        };
        if let Some(object) = objects
            .iter()
            .enumerate()
            .find(|(i, object)| !borders.get(*i).is_some_and(|at| rising(object, at)))
            .map(|(_, object)| object)
        {
            return Err(CutError::Borders { object: object.name.clone() });
        }
        let first = firsts(borders.iter().map(|at| at.len() as u64 - 1))?;
        Ok(Self::new(objects, Cut::At { borders, first }))
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
            Cut::Whole => count(self.objects.len()),
            Cut::Copies(copies) => count(self.objects.len()) * copies,
            Cut::Every { first, .. } | Cut::At { first, .. } => first.last().copied().unwrap_or(0),
        }
        .min(self.limit)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// Chunk `index`, or `None` past the last.
    pub fn get(&self, index: u32) -> Option<Chunk<'_>> {
        if index >= self.len() {
            return None;
        }
        let whole = |object: &'_ Object| (0, object.size);
        let (at, (from, to)) = match &self.cut {
            Cut::Whole => (index as usize, whole(&self.objects[index as usize])),
            Cut::Copies(copies) => {
                let at = (index / copies) as usize;
                (at, whole(&self.objects[at]))
            }
            Cut::Every { bytes, first } => {
                let (at, nth) = locate(first, index);
                let from = nth as u64 * bytes;
                (at, (from, (from + bytes).min(self.objects[at].size)))
            }
            Cut::At { borders, first } => {
                let (at, nth) = locate(first, index);
                (at, (borders[at][nth], borders[at][nth + 1]))
            }
        };
        Some(Chunk { object: &self.objects[at], from, to })
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
fn locate(first: &[u32], index: u32) -> (usize, usize) {
    let at = first.partition_point(|n| *n <= index) - 1;
    (at, (index - first[at]) as usize)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).expect("the constructors count in u32")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn objects(sizes: &[u64]) -> Vec<Object> {
        sizes
            .iter()
            .enumerate()
            .map(|(i, size)| Object { name: format!("o{i}"), size: *size, place: Place::Empty })
            .collect()
    }

    proptest! {
        #[test]
        fn every_byte_is_in_exactly_one_chunk(
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

            prop_assert_eq!(covered, sizes);
            prop_assert_eq!(table.get(table.len()), None);
        }
    }

    #[test]
    fn the_head_of_a_table_is_its_first_chunks() {
        let table = ChunkTable::every(objects(&[10, 10]), 4).unwrap();

        let head = table.clone().head(4);

        assert_eq!((table.len(), head.len()), (6, 4));
        assert_eq!((head.get(3), head.get(4)), (table.get(3), None));
        assert_eq!(head.clone().head(9).len(), 4);
    }

    #[test]
    fn borders_cut_where_they_say() {
        let table = ChunkTable::at(objects(&[10, 0, 5]), vec![vec![0, 4, 10], vec![0], vec![0, 5]])
            .unwrap();
        let ranges: Vec<_> =
            (0..table.len()).map(|i| table.get(i).unwrap()).map(|c| (c.from, c.to)).collect();

        assert_eq!(ranges, [(0, 4), (4, 10), (0, 5)]);
    }

    #[test]
    fn borders_that_do_not_rise_are_refused() {
        for borders in [vec![], vec![vec![0, 9]], vec![vec![0, 6, 6, 10]], vec![vec![1, 10]]] {
            assert!(ChunkTable::at(objects(&[10]), borders).is_err());
        }
        assert_eq!(ChunkTable::every(objects(&[u64::MAX]), 1), Err(CutError::TooMany));
    }

    #[test]
    fn copies_repeat_each_object() {
        let table = ChunkTable::copies(objects(&[3, 4, 5]), 2).unwrap();
        let names: Vec<_> = (0..table.len()).map(|i| &table.get(i).unwrap().object.name).collect();

        assert_eq!(names, ["o0", "o0", "o1", "o1", "o2", "o2"]);
    }
}
