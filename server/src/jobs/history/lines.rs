//! Lines of logs by time.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::ids::RunId;
use common::protocol::{Level, Stream};
use common::run::task::{Lease, TaskRef};

use super::{Whose, Window, runs_in};
use crate::app::App;
use crate::error::Result;
use crate::people::caller::Caller;
use crate::store::market::logs;
use crate::store::market::logs::BatchPlace;

/// What is looked through for one answer.
const SCANNED_BYTES: usize = 64 << 20;
/// Batches that are read at a time.
const BATCHES: u64 = 16;

/// Which lines are asked for.
#[derive(Debug, Clone)]
pub struct LineQuery {
    pub window: Window,
    /// Only those with this text in them, in the same case.
    pub contains: Option<String>,
    /// Leaves out what nodes say.
    pub only_containers: bool,
    /// The newest so many.
    pub limit: usize,
}

/// Lines in the order of their times.
#[derive(Debug, Default)]
pub struct Lines {
    pub lines: Vec<Line>,
    /// There are older ones, or more than one answer looks through.
    pub is_cut: bool,
}

/// A line that a container wrote, or its node.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub lease: Lease,
    pub at: DateTime<Utc>,
    pub level: Level,
    pub stream: Stream,
    pub text: String,
}

/// The place of a line among all: by time, and where that is the same as it was written.
type Place = (DateTime<Utc>, RunId, BatchPlace, usize);

/// The newest lines in the window.
pub async fn read(app: &App, caller: &Caller, whose: Whose, query: &LineQuery) -> Result<Lines> {
    let mut kept: BTreeMap<Place, Line> = BTreeMap::new();
    let (mut scanned, mut is_cut) = (0, false);
    'runs: for run in runs_in(app, caller, whose, query.window).await? {
        let mut after = None;
        loop {
            let found = logs::find_after(&app.db, run, &[], &[], after, BATCHES).await?;
            let is_last = (found.len() as u64) < BATCHES;
            for batch in found {
                after = Some(batch.place);
                scanned += batch.bytes;
                for (n, line) in batch.lines.into_iter().enumerate().filter(|(_, line)| {
                    let contains = query.contains.as_ref();
                    query.window.has(line.at)
                        && (!query.only_containers || line.stream != Stream::Node)
                        && contains.is_none_or(|text| line.text.contains(text.as_str()))
                }) {
                    let task = TaskRef { run, stage: line.stage, index: line.index };
                    let lease = Lease { task, attempt: line.attempt };
                    let (at, level, stream, text) = (line.at, line.level, line.stream, line.text);
                    let line = Line { lease, at, level, stream, text };
                    kept.insert((at, run, batch.place, n), line);
                    if kept.len() > query.limit {
                        kept.pop_first();
                        is_cut = true;
                    }
                }
                if scanned >= SCANNED_BYTES {
                    is_cut = true;
                    break 'runs;
                }
            }
            if is_last {
                break;
            }
        }
    }
    Ok(Lines { lines: kept.into_values().collect(), is_cut })
}
