//! What the containers of a run wrote, in the parts in which it came, the newest first.

use chrono::{DateTime, Utc};
use common::protocol::Stream;
use common::run::task::Lease;
use common::run::task::TaskRef;

use crate::app::App;
use crate::error::Result;
use crate::jobs::RunView;
use crate::store::market::logs;

/// What is looked through for one answer.
const SCANNED_BYTES: usize = 16 << 20;
/// Batches that are read at a time.
const BATCHES: u64 = 64;

/// Lines that came together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub lease: Lease,
    /// Its number among the parts of its attempt, from 1.
    pub number: u32,
    pub at: DateTime<Utc>,
    pub text: String,
}

/// All parts of a run's log, or of one attempt's; of a very long log the newest.
pub async fn read(app: &App, run: &RunView, of: Option<Lease>) -> Result<Vec<Part>> {
    let (mut parts, mut before, mut scanned) = (Vec::<Part>::new(), None, 0);
    let task: Option<TaskRef> = of.map(|lease| lease.task);
    loop {
        let found = logs::find_before(&app.db, run.id, task, before, BATCHES).await?;
        let is_last = (found.len() as u64) < BATCHES;
        for batch in found {
            before = Some(batch.place);
            scanned += batch.bytes;
            let own = batch.lines.iter().filter(|line| line.stream != Stream::Node);
            let Some(first) = own.clone().next() else { continue };
            let task = TaskRef { run: run.id, stage: first.stage, index: first.index };
            let lease = Lease { task, attempt: first.attempt };
            if of.is_some_and(|of| of != lease) {
                continue;
            }
            let text = own.map(|line| format!("{}\n", line.text)).collect();
            parts.push(Part { lease, number: 0, at: first.at, text });
        }
        if is_last || scanned >= SCANNED_BYTES {
            break;
        }
    }
    let mut number = 0;
    for n in (0..parts.len()).rev() {
        let is_next = parts.get(n + 1).is_some_and(|older| older.lease == parts[n].lease);
        number = if is_next { number + 1 } else { 1 };
        parts[n].number = number;
    }
    Ok(parts)
}
