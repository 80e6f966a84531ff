//! The values that blocks of a run have given, in the order in which they came.
//!
//! A value is a text that nobody evaluates. It belongs to the whole run or, where its block lies in
//! a list, to one element; it is forgotten when that element has ended.

use std::sync::Arc;

use crate::ids::RunId;
use crate::plan::Name;
use crate::protocol::VALUE_BYTES_MAX;
use crate::run::task::StageNo;

/// The most values that a run knows at a time, and the most bytes of them.
pub const VALUES_MAX: usize = 4_096;
pub const VALUES_BYTES_MAX: usize = 1 << 20;

/// A value as it is stored. It never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueRecord {
    pub run: RunId,
    /// Its number among those of its run.
    pub seq: u32,
    pub name: Name,
    /// The stage with which it is forgotten: of an element, or of a list that gathers values.
    pub within: Option<StageNo>,
    /// Of which element of that list it is; `None` for what blocks can read.
    pub item: Option<u32>,
    pub value: Arc<str>,
}

/// Why a value is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a run can keep at most {VALUES_MAX} values with {VALUES_BYTES_MAX} bytes together, each of at \
     most {VALUE_BYTES_MAX}"
)]
pub struct TooMuch;

/// What a run knows.
#[derive(Debug, Default)]
pub(in crate::market) struct Values {
    next: u32,
    bytes: usize,
    known: Vec<ValueRecord>,
}

impl Values {
    /// Nothing is known yet, and the next value has this number.
    pub const fn from(next: u32) -> Self {
        Self { next, bytes: 0, known: Vec::new() }
    }

    /// The number of the next value: what is older was there before.
    pub const fn next(&self) -> u32 {
        self.next
    }

    /// Takes a value that was stored before.
    pub fn restore(&mut self, record: ValueRecord) {
        self.bytes += record.value.len();
        let at = self.known.partition_point(|known| known.seq < record.seq);
        self.known.insert(at, record);
    }

    /// Takes a new one; gives what is to be stored.
    pub fn put(
        &mut self,
        run: RunId,
        name: Name,
        within: Option<StageNo>,
        item: Option<u32>,
        value: Arc<str>,
    ) -> Result<ValueRecord, TooMuch> {
        let bytes = self.bytes + value.len();
        if self.known.len() >= VALUES_MAX || bytes > VALUES_BYTES_MAX {
            return Err(TooMuch);
        }
        let record = ValueRecord { run, seq: self.next, name, within, item, value };
        self.next += 1;
        self.bytes = bytes;
        self.known.push(record.clone());
        Ok(record)
    }

    /// What blocks can read that were opened when the next value had this number, in these
    /// elements; the newest of each name comes last.
    pub fn seen<'a>(
        &'a self,
        before: u32,
        elements: &'a [StageNo],
    ) -> impl Iterator<Item = (&'a Name, &'a Arc<str>)> {
        let is_seen = move |known: &&ValueRecord| {
            let is_here = known.within.is_none_or(|within| elements.contains(&within));
            known.seq < before && known.item.is_none() && is_here
        };
        self.known.iter().filter(is_seen).map(|known| (&known.name, &known.value))
    }

    /// What a block of this name has given that is opened once.
    pub fn given(&self, name: &Name) -> Option<&Arc<str>> {
        let is_given = |known: &&ValueRecord| known.within.is_none() && known.name == *name;
        self.known.iter().rev().find(is_given).map(|known| &known.value)
    }

    /// The values of a list's elements, as a JSON list: `null` where an element has none.
    pub fn gathered(&self, list: StageNo, len: u32) -> String {
        let mut texts = vec![serde_json::Value::Null; len as usize];
        for known in self.known.iter().filter(|known| known.within == Some(list)) {
            if let Some(place) = known.item.and_then(|item| texts.get_mut(item as usize)) {
                *place = known.value.as_ref().into();
            }
        }
        serde_json::Value::from(texts).to_string()
    }

    /// A stage has ended: nobody reads what belongs to it.
    pub fn forget(&mut self, stage: StageNo) {
        self.known.retain(|known| known.within != Some(stage));
        self.bytes = self.known.iter().map(|known| known.value.len()).sum();
    }

    #[cfg(any(test, feature = "testing"))]
    pub fn known(&self) -> &[ValueRecord] {
        &self.known
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const RUN: RunId = RunId::new(Uuid::nil());

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn put(
        values: &mut Values,
        of: &str,
        within: Option<u32>,
        value: &str,
    ) -> Result<u32, TooMuch> {
        let within = within.map(StageNo::new);
        values.put(RUN, name(of), within, None, value.into()).map(|record| record.seq)
    }

    fn seen(values: &Values, before: u32, elements: &[u32]) -> Vec<String> {
        let elements: Vec<StageNo> = elements.iter().copied().map(StageNo::new).collect();
        let texts = values.seen(before, &elements);
        texts.map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn values_are_seen_by_what_comes_later_in_their_element() {
        let mut values = Values::default();
        put(&mut values, "a", None, "1").unwrap();
        put(&mut values, "a", Some(7), "2").unwrap();
        put(&mut values, "b", Some(8), "3").unwrap();

        assert_eq!(seen(&values, 3, &[7]), ["a=1", "a=2"]);
        assert_eq!(seen(&values, 1, &[7]), ["a=1"]);
        assert_eq!(seen(&values, 3, &[]), ["a=1"]);
        values.forget(StageNo::new(7));
        assert_eq!(seen(&values, 3, &[7]), ["a=1"]);
        assert_eq!(put(&mut values, "c", None, "4"), Ok(3));
    }

    #[test]
    fn values_have_bounds_that_forgotten_ones_give_back() {
        let mut values = Values::default();
        let large = "x".repeat(VALUE_BYTES_MAX);
        for _ in 0..VALUES_BYTES_MAX / VALUE_BYTES_MAX {
            put(&mut values, "a", Some(1), &large).unwrap();
        }
        assert_eq!(put(&mut values, "a", None, "x"), Err(TooMuch));

        values.forget(StageNo::new(1));

        for _ in 0..VALUES_MAX {
            put(&mut values, "a", None, "").unwrap();
        }
        assert_eq!(put(&mut values, "a", None, ""), Err(TooMuch));
    }

    #[test]
    fn values_of_elements_are_gathered_in_their_order() {
        let (mut values, list) = (Values::default(), StageNo::new(4));
        for (item, value) in [(2, "c"), (0, "a\"")] {
            values.put(RUN, name("all"), Some(list), Some(item), value.into()).unwrap();
        }

        assert_eq!(values.gathered(list, 3), r#"["a\"",null,"c"]"#);
        assert!(seen(&values, 9, &[4]).is_empty());
    }
}
