//! Lines of logs by time.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use common::ids::RunId;
use common::protocol::{Level, Stream};
use common::run::task::Lease;
use uuid::Uuid;

use super::{Whose, Window, runs_in};
use crate::app::App;
use crate::error;
use crate::logs::reader::Logs;
use crate::people::caller::Caller;
use crate::store::logs::Batch;

/// What is looked through for one answer.
const SCANNED_BYTES: u64 = 64 << 20;
/// Segments that are listed for one answer.
const SEGMENTS_MAX: u64 = 256;

/// Which lines are asked for.
#[derive(Debug, Clone)]
pub struct LineQuery {
    pub window: Window,
    /// Only those with this text in them, in the same case.
    pub contains: Option<String>,
    /// Only those of this level.
    pub level: Option<Level>,
    /// Leaves out what nodes say.
    pub only_containers: bool,
    /// The newest so many.
    pub limit: usize,
    /// Only those before this one.
    pub before: Option<Place>,
}

/// Lines in the order of their times.
#[derive(Debug, Default)]
pub struct Lines {
    pub lines: Vec<Line>,
    /// There are older ones, or more than one answer looks through.
    pub is_cut: bool,
    /// What the older ones come before, where it is known.
    pub next: Option<Place>,
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

/// The place of a line among all: by time, and where that is the same as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    at: DateTime<Utc>,
    run: RunId,
    /// The number of its batch, and its place in it.
    batch: i64,
    line: usize,
}

impl Place {
    /// Before all lines that are later than this.
    fn just_after(at: DateTime<Utc>) -> Self {
        let run = RunId::new(Uuid::nil());
        Self { at: at + TimeDelta::microseconds(1), run, batch: 0, line: 0 }
    }
}

/// The text is no line's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not the place of a line")]
pub struct NotAPlace;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, run, batch, line } = self;
        write!(f, "{}.{run}.{batch}.{line}", at.timestamp_micros())
    }
}

impl FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        let parts: Vec<&str> = text.split('.').collect();
        let [at, run, batch, line] = parts[..] else { return Err(NotAPlace) };
        let at = at.parse().ok().and_then(DateTime::from_timestamp_micros).ok_or(NotAPlace)?;
        let run = run.parse().map_err(|_| NotAPlace)?;
        let (batch, line) = (batch.parse().ok(), line.parse().ok());
        let (batch, line) = batch.zip(line).ok_or(NotAPlace)?;
        Ok(Self { at, run, batch, line })
    }
}

/// The newest lines of those that were looked at.
struct Newest<'a> {
    query: &'a LineQuery,
    kept: BTreeMap<Place, Line>,
    scanned: u64,
    is_cut: bool,
}

/// The newest lines in the window.
pub async fn read(
    app: &App,
    caller: &Caller,
    whose: Whose,
    query: &LineQuery,
) -> error::Result<Lines> {
    let logs = Logs { db: &app.db, data: &app.data };
    let runs = runs_in(app, caller, whose, query.window).await?;
    let mut newest = Newest { query, kept: BTreeMap::new(), scanned: 0, is_cut: false };
    // What is in the database goes first, so that what is moved meanwhile is found in its segment.
    for run in &runs {
        let mut after = 0;
        loop {
            let found = logs.tail(*run, after).await?;
            let Some(last) = found.last() else { break };
            after = last.number;
            found.into_iter().for_each(|batch| newest.take(batch));
            if newest.scanned >= SCANNED_BYTES {
                newest.is_cut = true;
                return Ok(Lines { next: None, ..newest.lines() });
            }
        }
    }
    let Window { from, until } = query.window;
    // To the microsecond: stored times are no finer.
    let until =
        query.before.map_or(until, |before| until.min(before.at + TimeDelta::microseconds(1)));
    let listed = logs.segments(&runs, (from, until), SEGMENTS_MAX).await?;
    let is_all = (listed.len() as u64) < SEGMENTS_MAX;
    let last = listed.last().map(|segment| segment.times.1);
    for segment in listed {
        let latest = segment.times.1;
        if newest.has_all_after(latest) {
            newest.is_cut = true;
            return Ok(newest.lines());
        }
        if newest.scanned >= SCANNED_BYTES {
            return Ok(newest.lines_after(latest));
        }
        for batch in logs.open(&segment).await? {
            newest.take(batch);
        }
    }
    match last {
        Some(latest) if !is_all => Ok(newest.lines_after(latest)),
        Some(_) | None => Ok(newest.lines()),
    }
}

impl Newest<'_> {
    fn take(&mut self, batch: Batch) {
        self.scanned += batch.bytes();
        let LineQuery { window, contains, level, only_containers, limit, before } = self.query;
        let (number, lease) = (batch.number, batch.lease);
        for (n, line) in batch.into_views().enumerate() {
            let place = Place { at: line.at, run: lease.task.run, batch: number, line: n };
            let is_asked_for = window.has(line.at)
                && before.is_none_or(|before| place < before)
                && level.is_none_or(|level| line.level == level)
                && (!only_containers || line.stream != Stream::Node)
                && contains.as_ref().is_none_or(|text| line.text.contains(text.as_str()));
            if !is_asked_for {
                continue;
            }
            let (at, level, stream, text) = (line.at, line.level, line.stream, line.text);
            self.kept.insert(place, Line { lease, at, level, stream, text });
            if self.kept.len() > *limit {
                self.kept.pop_first();
                self.is_cut = true;
            }
        }
    }

    /// No line up to this time can be among the newest.
    fn has_all_after(&self, at: DateTime<Utc>) -> bool {
        let oldest = self.kept.first_key_value();
        self.kept.len() == self.query.limit && oldest.is_some_and(|(place, _)| place.at > at)
    }

    fn lines(self) -> Lines {
        let is_cut = self.is_cut;
        let next = self.kept.first_key_value().map(|(place, _)| *place).filter(|_| is_cut);
        Lines { lines: self.kept.into_values().collect(), is_cut, next }
    }

    /// Only those after this time: what is up to it has not been looked at.
    fn lines_after(mut self, at: DateTime<Utc>) -> Lines {
        let place = Place::just_after(at);
        let is_full = self.kept.len() == self.query.limit;
        self.kept = self.kept.split_off(&place);
        let next = self.kept.first_key_value().map(|(place, _)| *place).filter(|_| is_full);
        let lines = self.kept.into_values().collect();
        Lines { lines, is_cut: true, next: next.or(Some(place)) }
    }
}
