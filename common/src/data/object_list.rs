//! The objects that a run reads, packed: a source may have a million of them.

use serde::{Deserialize, Serialize};

/// The most objects of one source.
pub const OBJECTS_MAX: u32 = 1_000_000;
/// The most bytes of a packed list: it is held in memory and stored as one value.
const PACKED_BYTES_MAX: usize = 128 << 20;
/// Every this many rows one is written whole, so that reading any of them takes few steps.
const STRIDE: u32 = 16;

/// Where an object's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the job's own data source, at this path (a key, or the URL itself).
    Source { path: String },
    /// In Fanfold's bucket, under this key.
    Bucket { key: String },
    /// Nowhere: an object of no bytes, as a `bypass` source gives.
    Empty,
}

/// An object that a run reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its file name, without folders.
    pub name: String,
    pub size: u64,
    pub place: Place,
    /// What its store called these very bytes when they were looked at (an ETag, or the time of
    /// the last change); `None` where it does not say.
    pub version: Option<String>,
}

impl Object {
    /// The one object of a source that is no data.
    pub fn nothing() -> Self {
        let name = "bypass".to_owned();
        Self { name, size: 0, place: Place::Empty, version: None }
    }

    /// What messages call it: its path, where it has one.
    pub fn shown(&self) -> &str {
        match &self.place {
            Place::Source { path } => path,
            Place::Bucket { .. } | Place::Empty => &self.name,
        }
    }
}

/// A list of objects. Paths that follow one another are alike, so only what differs from the one
/// before is held: for a million files in order this is less than 40 bytes each.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objects {
    len: u32,
    /// Of all objects together.
    bytes: u64,
    /// Of the largest object.
    largest: u64,
    /// Where rows 0, 16, 32, … begin.
    marks: Vec<u32>,
    #[serde(with = "serde_bytes")]
    rows: Vec<u8>,
}

/// There are too many objects for one run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    #[error(
        "there are more than {OBJECTS_MAX} files: choose fewer of them, or pack many into one file"
    )]
    Objects,
    #[error(
        "the names of so many files take more than {} MiB: choose fewer files, or shorter names",
        PACKED_BYTES_MAX >> 20
    )]
    Names,
}

#[derive(Serialize, Deserialize)]
struct Row<'a> {
    /// How many bytes of the path are as in the row before.
    same: u32,
    rest: &'a str,
    /// `None` where it is the path's last segment.
    name: Option<&'a str>,
    size: u64,
    kind: Kind,
    version: Version<'a>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Kind {
    Source,
    Bucket,
    Empty,
}

#[derive(Serialize, Deserialize)]
enum Version<'a> {
    Unknown,
    /// The usual form, 32 hexadecimal digits in quotes.
    Md5([u8; 16]),
    Text(&'a str),
}

/// Packs objects one by one.
#[derive(Debug, Default)]
pub struct Packer {
    packed: Objects,
    last: String,
}

impl Packer {
    pub fn push(&mut self, object: &Object) -> Result<(), TooMany> {
        if self.packed.len == OBJECTS_MAX {
            return Err(TooMany::Objects);
        }
        let (kind, path) = match &object.place {
            Place::Source { path } => (Kind::Source, path.as_str()),
            Place::Bucket { key } => (Kind::Bucket, key.as_str()),
            Place::Empty => (Kind::Empty, ""),
        };
        let rows = &mut self.packed.rows;
        let mut same = 0;
        if self.packed.len.is_multiple_of(STRIDE) {
            self.packed.marks.push(u32::try_from(rows.len()).map_err(|_| TooMany::Names)?);
        } else {
            let alike = self.last.bytes().zip(path.bytes()).take_while(|(a, b)| a == b).count();
            same = path.floor_char_boundary(alike);
        }
        let row = Row {
            same: u32::try_from(same).map_err(|_| TooMany::Names)?,
            rest: &path[same..],
            name: (object.name != last_segment(path)).then_some(&object.name),
            size: object.size,
            kind,
            version: Version::of(object.version.as_deref()),
        };
        *rows = postcard::to_extend(&row, std::mem::take(rows)).map_err(|_| TooMany::Names)?;
        if rows.len() > PACKED_BYTES_MAX {
            return Err(TooMany::Names);
        }
        self.packed.len += 1;
        self.packed.bytes = self.packed.bytes.saturating_add(object.size);
        self.packed.largest = self.packed.largest.max(object.size);
        path.clone_into(&mut self.last);
        Ok(())
    }

    pub fn len(&self) -> u32 {
        self.packed.len
    }

    pub fn is_empty(&self) -> bool {
        self.packed.len == 0
    }

    pub fn finish(mut self) -> Objects {
        self.packed.rows.shrink_to_fit();
        self.packed
    }
}

impl Objects {
    pub fn pack(objects: &[Object]) -> Result<Self, TooMany> {
        let mut packer = Packer::default();
        objects.iter().try_for_each(|object| packer.push(object))?;
        Ok(packer.finish())
    }

    pub fn len(&self) -> u32 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes of all objects together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bytes of the largest object.
    pub fn largest(&self) -> u64 {
        self.largest
    }

    /// Object `n`, or `None` past the last.
    pub fn get(&self, n: u32) -> Option<Object> {
        if n >= self.len {
            return None;
        }
        let at = *self.marks.get((n / STRIDE) as usize)? as usize;
        let mut rows = Iter { left: self.rows.get(at..)?, path: String::new() };
        rows.nth((n % STRIDE) as usize)
    }

    pub fn iter(&self) -> Iter<'_> {
        Iter { left: &self.rows, path: String::new() }
    }
}

impl<'a> IntoIterator for &'a Objects {
    type Item = Object;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Unpacks objects in order.
#[derive(Debug)]
pub struct Iter<'a> {
    left: &'a [u8],
    path: String,
}

impl Iterator for Iter<'_> {
    type Item = Object;

    fn next(&mut self) -> Option<Object> {
        if self.left.is_empty() {
            return None;
        }
        let (row, left) = postcard::take_from_bytes::<Row<'_>>(self.left).ok()?;
        self.left = left;
        self.path.truncate(row.same as usize);
        self.path.push_str(row.rest);
        let path = self.path.clone();
        Some(Object {
            name: row.name.unwrap_or_else(|| last_segment(&path)).to_owned(),
            size: row.size,
            version: row.version.text(),
            place: match row.kind {
                Kind::Source => Place::Source { path },
                Kind::Bucket => Place::Bucket { key: path },
                Kind::Empty => Place::Empty,
            },
        })
    }
}

impl<'a> Version<'a> {
    fn of(text: Option<&'a str>) -> Self {
        let Some(text) = text else { return Self::Unknown };
        let mut md5 = [0; 16];
        let digits = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let usual = digits.is_some_and(|digits| {
            hex::decode_to_slice(digits, &mut md5).is_ok() && hex::encode(md5) == digits
        });
        if usual { Self::Md5(md5) } else { Self::Text(text) }
    }

    fn text(&self) -> Option<String> {
        match self {
            Self::Unknown => None,
            Self::Md5(md5) => Some(format!("\"{}\"", hex::encode(md5))),
            Self::Text(text) => Some((*text).to_owned()),
        }
    }
}

fn last_segment(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_object() -> impl Strategy<Value = Object> {
        let path = prop_oneof!["[a/é]{0,6}", "in/day-[0-9]{1,2}/é?[a-c]{0,3}"];
        let place = prop_oneof![
            path.clone().prop_map(|path| Place::Source { path }),
            path.prop_map(|key| Place::Bucket { key }),
            Just(Place::Empty),
        ];
        let version = proptest::option::of(prop_oneof!["\"[0-9a-fA-F]{32}\"", "\\PC{0,4}"]);
        ("[a-cé]{0,3}", any::<u64>(), place, version, any::<bool>()).prop_map(
            |(name, size, place, version, own)| {
                let mut object = Object { name, size, place, version };
                if own && let Place::Source { path } = &object.place {
                    object.name = last_segment(path).to_owned();
                }
                object
            },
        )
    }

    proptest! {
        #[test]
        fn object_list_is_read_back_from_its_packed_form(given in prop::collection::vec(any_object(), 0..60)) {
            let packed = Objects::pack(&given).unwrap();
            let wire = postcard::to_stdvec(&packed).unwrap();

            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), given.clone());
            prop_assert_eq!(postcard::from_bytes::<Objects>(&wire).unwrap(), packed.clone());
            for (n, object) in (0u32..).zip(&given) {
                prop_assert_eq!(packed.get(n), Some(object.clone()));
            }
            prop_assert_eq!(packed.get(packed.len()), None);
        }

        #[test]
        fn object_list_refuses_random_bytes(rows in prop::collection::vec(any::<u8>(), 0..60), len in 0..9u32) {
            let noise = Objects { len, bytes: 0, largest: 0, marks: vec![0, 3], rows };

            let seen = noise.iter().count() + (0..9).filter_map(|n| noise.get(n)).count();

            prop_assert!(seen < 200);
        }
    }

    #[test]
    fn object_list_needs_less_than_forty_bytes_per_sorted_file() {
        let mut packer = Packer::default();
        for n in 0..50_000u128 {
            let name = format!("part-{n:07}.parquet");
            let path = format!("lake/events/year=2026/month=11/{name}");
            let version = Some(format!("\"{:032x}\"", n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c)));
            packer
                .push(&Object { name, size: 1 << 20, place: Place::Source { path }, version })
                .unwrap();
        }

        let packed = packer.finish();

        let held = packed.rows.len() + packed.marks.len() * 4;
        assert!(held < 50_000 * 40, "{} bytes each", held / 50_000);
        assert_eq!(packed.bytes(), 50_000 << 20);
    }

    #[test]
    fn object_list_that_is_too_large_is_refused() {
        let long = Object {
            name: String::new(),
            size: 0,
            place: Place::Empty,
            version: Some("v".repeat(1 << 20)),
        };
        let mut packer = Packer::default();

        let refused = (0..200).find_map(|_| packer.push(&long).err());

        assert_eq!(refused, Some(TooMany::Names));
        packer.packed.len = OBJECTS_MAX;
        assert_eq!(packer.push(&long), Err(TooMany::Objects));
    }
}
