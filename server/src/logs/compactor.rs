//! Moves lines from the database to the bucket: of a run that has many, and of one that has ended.
//!
//! The object is written first. Its row is stored in the transaction that deletes the rows of its
//! batches, so that wherever this is killed each line is in one place. An object whose row was not
//! stored is found by the sweep of objects that no row names.

use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use common::error_chain::chain;
use common::ids::RunId;
use futures::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::{Error, segment};
use crate::clock;
use crate::data::Data;
use crate::data::bucket::blob_key::BlobKey;
use crate::store::logs::{Batch, Filter, segments, tail};
use crate::store::{Db, begin};

const PERIOD: Duration = Duration::from_secs(5);
/// Text that a run may have in the database while it goes on.
const TAIL_BYTES_MAX: u64 = 1 << 20;
/// How long after its end lines of a run may still come, as a rule.
const SETTLES: TimeDelta = TimeDelta::minutes(1);
/// Runs that are looked at in one query.
const RUNS: u64 = 64;
/// Batches that are read at a time.
const BATCHES: u64 = 64;

/// Passes every few seconds, until told to stop.
pub async fn run(db: Db, data: Data, stop: CancellationToken) {
    let mut period = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            passed = pass(&db, &data) => if let Err(error) = passed {
                tracing::warn!(error = %chain(&error), "logs are not moved to the bucket yet");
            }
        }
    }
}

/// Moves what is due by now.
async fn pass(db: &Db, data: &Data) -> Result<(), Error> {
    loop {
        let due = tail::due(db, TAIL_BYTES_MAX, clock::now() - SETTLES, RUNS).await?;
        let mut is_all_moved = true;
        for run in &due {
            // One that cannot be moved keeps no other from it.
            if let Err(error) = compact(db, data, *run).await {
                tracing::warn!(%run, error = %chain(&error), "a log is not moved yet");
                is_all_moved = false;
            }
        }
        if (due.len() as u64) < RUNS || !is_all_moved {
            return Ok(());
        }
    }
}

/// Moves all batches of a run that are there now.
pub async fn compact(db: &Db, data: &Data, run: RunId) -> Result<(), Error> {
    loop {
        let (batches, is_last) = first(db, run).await?;
        let seq = segments::next_seq(db, run).await?;
        let n = batches.len() as u64;
        let made = tokio::task::spawn_blocking(move || segment::make(run, seq, batches)).await;
        let Some((segment, object)) = made.ok().flatten() else { return Ok(()) };
        // Its digest is in its name, so that it is no other's that a row may name by now.
        let key = BlobKey::Log { run, seq, digest: segment.digest };
        let object = stream::iter([Ok(Bytes::from(object))]).boxed();
        data.put(&key, object).await?;
        let tx = begin(db).await?;
        let moved = tail::delete(&tx, run, segment.numbers).await?;
        if moved != n {
            // Somebody else has moved or deleted some: what is there now is looked at again.
            return Ok(());
        }
        segments::insert(&tx, &segment).await?;
        tx.commit().await?;
        let (lines, bytes, size) = (segment.lines, segment.bytes, segment.size);
        tracing::debug!(%run, seq, lines, bytes, size, "lines of a log moved to the bucket");
        if is_last {
            return Ok(());
        }
    }
}

/// The first batches of a run, as many as a segment takes, and whether they are all there are.
async fn first(db: &Db, run: RunId) -> Result<(Vec<Batch>, bool), Error> {
    let (mut batches, mut bytes, mut after) = (Vec::new(), 0, 0);
    loop {
        let found = tail::after(db, run, Filter::default(), after, BATCHES).await?;
        let is_last = (found.len() as u64) < BATCHES;
        for batch in found {
            bytes += batch.bytes();
            if bytes > segment::TEXT_BYTES_MAX && !batches.is_empty() {
                return Ok((batches, false));
            }
            after = batch.number;
            batches.push(batch);
        }
        if is_last {
            return Ok((batches, true));
        }
    }
}
