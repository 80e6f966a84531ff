//! What the containers of a run wrote, in the parts in which it came, the newest first.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::protocol::Stream;
use common::run::task::{Lease, StageNo};

use crate::app::App;
use crate::error::Result;
use crate::jobs::RunView;
use crate::logs::reader::Logs;
use crate::store::logs::{Batch, Filter, LogView};

/// What is read for one answer.
const READ_BYTES: u64 = 16 << 20;
/// Segments that are looked through for one answer.
const SEGMENTS: u64 = 64;

/// Lines that came together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub lease: Lease,
    /// Its number among the parts of its attempt, from 1.
    pub number: u32,
    pub at: DateTime<Utc>,
    pub text: String,
}

/// Where a batch stands: those of the last task come first.
type Place = (StageNo, u32, u32, i64);

/// All parts of a run's log, or of one attempt's; of a very long log the newest.
pub async fn read(app: &App, run: &RunView, of: Option<Lease>) -> Result<Vec<Part>> {
    let batches = batches(app, run, of).await?;
    let (mut parts, mut number) = (Vec::<Part>::new(), 0);
    for batch in batches.into_values() {
        let lease = batch.lease;
        let own = batch.into_views().filter(|line| line.stream != Stream::Node);
        let lines: Vec<LogView> = own.collect();
        let Some(first) = lines.first() else { continue };
        let is_next = parts.last().is_some_and(|before| before.lease == lease);
        number = if is_next { number + 1 } else { 1 };
        let text = lines.iter().map(|line| format!("{}\n", line.text)).collect();
        parts.push(Part { lease, number, at: first.at, text });
    }
    parts.reverse();
    Ok(parts)
}

/// The newest batches, in the order of their tasks. A batch that is moved to the bucket meanwhile is
/// read twice and kept once.
async fn batches(app: &App, run: &RunView, of: Option<Lease>) -> Result<BTreeMap<Place, Batch>> {
    let logs = Logs { db: &app.db, data: &app.data };
    let (mut found, mut bytes, mut after) = (BTreeMap::new(), 0, 0);
    let mut take = |batch: Batch| {
        if of.is_none_or(|of| of == batch.lease) {
            let Lease { task, attempt } = batch.lease;
            let size = batch.bytes();
            if found.insert((task.stage, task.index, attempt, batch.number), batch).is_none() {
                bytes += size;
            }
        }
        bytes
    };
    loop {
        let recent = logs.tail(run.id, after).await?;
        let Some(last) = recent.last() else { break };
        after = last.number;
        for batch in recent {
            take(batch);
        }
    }
    let all = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
    let (stages, tasks) = of.map(|of| ([of.task.stage], [of.task.index])).unzip();
    let filter = Filter {
        stages: stages.as_ref().map_or(&[], |stages| stages.as_slice()),
        tasks: tasks.as_ref().map_or(&[], |tasks| tasks.as_slice()),
    };
    for segment in logs.segments(&[run.id], all, SEGMENTS).await? {
        if !segment.has(filter) {
            continue;
        }
        let read: u64 = logs.open(&segment).await?.into_iter().map(&mut take).max().unwrap_or(0);
        if read >= READ_BYTES {
            break;
        }
    }
    Ok(found)
}
