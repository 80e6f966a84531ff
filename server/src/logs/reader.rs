//! Reads logs from both places where they lie. The database is read first and the list of segments
//! after it, so that a batch which is moved meanwhile is found in one of them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use common::ids::RunId;

use super::{Error, segment};
use crate::data::Data;
use crate::data::bucket::blob_key::BlobKey;
use crate::store::Db;
use crate::store::logs::segments::Segment;
use crate::store::logs::{Batch, Filter, segments, tail};

/// Batches that are read from the database at a time: each has at most some 100 KiB.
const BATCHES: u64 = 16;
/// Segments whose rows are read at a time.
const SEGMENTS: u64 = 64;

/// Where logs are read from.
#[derive(Clone, Copy)]
pub struct Logs<'a> {
    pub db: &'a Db,
    pub data: &'a Data,
}

/// Reads the batches of a run in the order in which they came, some at a time.
pub struct Scan<'a> {
    logs: Logs<'a>,
    run: RunId,
    filter: Filter<'a>,
    /// The number of the last batch that was read or passed over.
    after: i64,
}

impl<'a> Logs<'a> {
    /// The batches of a run after the one of this number.
    pub fn scan(self, run: RunId, filter: Filter<'a>, after: Option<i64>) -> Scan<'a> {
        Scan { logs: self, run, filter, after: after.unwrap_or(0) }
    }

    /// The batch of a run of this number, where it is still kept.
    pub async fn find(self, run: RunId, number: i64) -> Result<Option<Batch>, Error> {
        if let Some(batch) = tail::find(self.db, run, number).await? {
            return Ok(Some(batch));
        }
        let found = segments::after(self.db, run, number - 1, 1).await?;
        let Some(segment) = found.first() else { return Ok(None) };
        let batches = self.open(segment).await?;
        Ok(batches.into_iter().find(|batch| batch.number == number))
    }

    /// Recent batches of a run after the one of this number, which are in the database.
    pub async fn tail(self, run: RunId, after: i64) -> Result<Vec<Batch>, Error> {
        Ok(tail::after(self.db, run, Filter::default(), after, BATCHES).await?)
    }

    /// At most `limit` segments of some runs with lines in a span of time, the latest end first.
    pub async fn segments(
        self,
        runs: &[RunId],
        times: (DateTime<Utc>, DateTime<Utc>),
        limit: u64,
    ) -> Result<Vec<Segment>, Error> {
        Ok(segments::between(self.db, runs, times, limit).await?)
    }

    /// The batches of a segment.
    pub async fn open(self, segment: &Segment) -> Result<Vec<Batch>, Error> {
        let Segment { run, seq, digest, size, .. } = *segment;
        let name = format!("segment {seq} of the log of run {run}");
        let key = BlobKey::Log { run, seq, digest };
        let object = self.data.get_whole(&key, size, digest, &name).await?;
        let object = Arc::new(object);
        // A segment takes some milliseconds to inflate.
        let read = tokio::task::spawn_blocking(move || segment::decode(run, &object)).await;
        read.ok().flatten().ok_or(Error::Segment(run))
    }
}

impl Scan<'_> {
    /// The number of the last batch that was read or passed over.
    pub const fn place(&self) -> i64 {
        self.after
    }

    /// The next batches: those of a segment, or some of the database. `None` at the end; a part may
    /// be empty.
    pub async fn next(&mut self) -> Result<Option<Vec<Batch>>, Error> {
        let Logs { db, .. } = self.logs;
        let recent = tail::after(db, self.run, self.filter, self.after, BATCHES).await?;
        let listed = segments::after(db, self.run, self.after, SEGMENTS).await?;
        // One that begins with the first recent batch was made of it just now.
        let is_before = |segment: &&Segment| {
            recent.first().is_none_or(|first| segment.numbers.0 < first.number)
        };
        for segment in listed.iter().take_while(is_before) {
            if segment.has(self.filter) {
                return self.of(segment).await.map(Some);
            }
            self.after = segment.numbers.1;
        }
        if listed.iter().take_while(is_before).count() > 0 {
            return Ok(Some(Vec::new()));
        }
        if let Some(last) = recent.last() {
            self.after = last.number;
        }
        Ok((!recent.is_empty()).then_some(recent))
    }

    async fn of(&mut self, segment: &Segment) -> Result<Vec<Batch>, Error> {
        let mut batches = self.logs.open(segment).await?;
        let after = self.after;
        batches.retain(|batch| batch.number > after && self.filter.has(batch.lease.task));
        self.after = segment.numbers.1;
        Ok(batches)
    }
}
