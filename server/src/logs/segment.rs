//! A segment of a run's log: batches that follow one another, as one object of the bucket. It is a
//! byte for the format, and then postcard, deflated.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use chrono::{DateTime, Utc};
use common::digest::Digest;
use common::ids::RunId;
use common::protocol::LogLine;
use common::run::task::{Lease, StageNo, TaskRef};
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::{Deserialize, Serialize};

use crate::store::logs::Batch;
use crate::store::logs::segments::{AttemptEnd, Segment};

/// The most bytes of text in a segment; one batch alone may have more.
pub const TEXT_BYTES_MAX: u64 = 1 << 20;
const FORMAT: u8 = 1;
/// More than any segment has when it is inflated.
const INFLATED_BYTES_MAX: u64 = 64 << 20;

/// A batch of a run, as a segment has it.
#[derive(Serialize, Deserialize)]
struct Entry {
    number: i64,
    stage: StageNo,
    index: u32,
    attempt: u32,
    first: u32,
    lines: Vec<LogLine>,
}

/// The object that holds the batches of a run, and the row that names it; `None` where there is
/// nothing to hold.
pub fn make(run: RunId, seq: u32, batches: Vec<Batch>) -> Option<(Segment, Vec<u8>)> {
    let numbers = (batches.first()?.number, batches.last()?.number);
    let bytes = batches.iter().map(Batch::bytes).sum();
    let lines = batches.iter().map(|batch| batch.lines.len() as u64).sum();
    let (times, ends) = (times(&batches), ends(&batches));
    let object = encode(batches)?;
    let (size, digest) = (object.len() as u64, Digest::of(&object));
    Some((Segment { run, seq, numbers, times, lines, bytes, size, digest, ends }, object))
}

fn times(batches: &[Batch]) -> (DateTime<Utc>, DateTime<Utc>) {
    let all = || batches.iter().flat_map(|batch| &batch.lines).map(|line| line.at_us);
    let time = |us: Option<i64>| us.and_then(DateTime::from_timestamp_micros).unwrap_or_default();
    (time(all().min()), time(all().max()))
}

fn ends(batches: &[Batch]) -> Vec<AttemptEnd> {
    let mut ends: BTreeMap<Lease, (u32, u64)> = BTreeMap::new();
    for batch in batches {
        let end = ends.entry(batch.lease).or_default();
        *end = (end.0.max(batch.end()), end.1.saturating_add(batch.bytes()));
    }
    let end = |(Lease { task, attempt }, (end, bytes)): (Lease, (u32, u64))| AttemptEnd {
        stage: task.stage,
        index: task.index,
        attempt,
        end,
        bytes,
    };
    ends.into_iter().map(end).collect()
}

fn encode(batches: Vec<Batch>) -> Option<Vec<u8>> {
    let entry = |Batch { number, lease: Lease { task, attempt }, first, lines }| Entry {
        number,
        stage: task.stage,
        index: task.index,
        attempt,
        first,
        lines,
    };
    let entries: Vec<Entry> = batches.into_iter().map(entry).collect();
    let plain = postcard::to_stdvec(&entries).ok()?;
    let mut deflate = DeflateEncoder::new(vec![FORMAT], Compression::default());
    deflate.write_all(&plain).ok()?;
    deflate.finish().ok()
}

/// The batches that an object holds; `None` where it is no segment.
pub fn decode(run: RunId, object: &[u8]) -> Option<Vec<Batch>> {
    let (format, deflated) = object.split_first()?;
    if *format != FORMAT {
        return None;
    }
    let mut plain = Vec::new();
    DeflateDecoder::new(deflated).take(INFLATED_BYTES_MAX).read_to_end(&mut plain).ok()?;
    let entries: Vec<Entry> = postcard::from_bytes(&plain).ok()?;
    let batch = |Entry { number, stage, index, attempt, first, lines }| {
        let lease = Lease { task: TaskRef { run, stage, index }, attempt };
        Batch { number, lease, first, lines }
    };
    Some(entries.into_iter().map(batch).collect())
}

#[cfg(test)]
mod tests {
    use common::protocol::{Level, Stream};
    use common::testing::process;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn run() -> RunId {
        RunId::new(Uuid::from_u128(7))
    }

    fn batch(number: i64, index: u32, first: u32, texts: &[(i64, &str)]) -> Batch {
        let line = |(at_us, text): &(i64, &str)| LogLine {
            at_us: *at_us,
            level: Level::Error,
            stream: Stream::Err,
            text: (*text).to_owned(),
        };
        let lines = texts.iter().map(line).collect();
        Batch { number, lease: process(run(), index, 2), first, lines }
    }

    #[test]
    fn segment_gives_back_its_batches_and_says_what_it_has() {
        let batches = vec![
            batch(5, 0, 0, &[(30, "a"), (10, "é")]),
            batch(7, 1, 4, &[(20, "")]),
            batch(8, 0, 2, &[(40, "last")]),
        ];

        let (row, object) = make(run(), 3, batches.clone()).unwrap();

        assert_eq!(decode(run(), &object), Some(batches));
        assert_eq!((row.seq, row.numbers, row.lines, row.bytes), (3, (5, 8), 4, 7));
        assert_eq!((row.times.0.timestamp_micros(), row.times.1.timestamp_micros()), (10, 40));
        assert_eq!((row.size, row.digest), (object.len() as u64, Digest::of(&object)));
        let ends: Vec<_> = row.ends.iter().map(|end| (end.index, end.end, end.bytes)).collect();
        assert_eq!(ends, [(0, 3, 7), (1, 5, 0)]);
        assert_eq!(make(run(), 0, vec![]), None);
    }

    #[test]
    fn segment_of_repeated_text_is_small() {
        let text = "epoch 1: loss 0.25\n".repeat(1 << 16);
        let (row, object) = make(run(), 0, vec![batch(1, 0, 0, &[(1, &text)])]).unwrap();

        assert!(row.bytes > 1 << 20 && object.len() < 64 << 10, "{}", object.len());
    }

    proptest! {
        #[test]
        fn segment_reader_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(run(), &bytes);
            let _ = decode(run(), &[&[FORMAT], &bytes[..]].concat());
        }
    }
}
