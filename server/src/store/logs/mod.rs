//! What tasks' containers and their nodes wrote. Lines that came together are a batch. Batches have
//! numbers in the order in which they came; the recent ones are rows, the others lie in segments.

pub mod numbers;
pub mod segments;
pub mod tail;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use common::ids::RunId;
use common::protocol::{Level, LogLine, Stream};
use common::run::task::{Lease, StageNo, TaskRef};
use sea_orm::{ConnectionTrait, DbErr};

use crate::store::time;

/// Lines of an attempt that came together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub number: i64,
    pub lease: Lease,
    /// The number of the first line in its attempt.
    pub first: u32,
    pub lines: Vec<LogLine>,
}

/// A line that a container wrote, or its node.
#[derive(Debug, Clone, PartialEq)]
pub struct LogView {
    pub stage: StageNo,
    pub index: u32,
    pub attempt: u32,
    pub at: DateTime<Utc>,
    pub level: Level,
    pub stream: Stream,
    pub text: String,
}

/// How far an attempt's log goes: the number of the line after the last, and the bytes of text.
pub type End = (u32, u64);

/// Which lines of a run; an empty list means all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    pub stages: &'a [StageNo],
    pub tasks: &'a [u32],
}

impl Filter<'_> {
    pub fn has(&self, task: TaskRef) -> bool {
        (self.stages.is_empty() || self.stages.contains(&task.stage))
            && (self.tasks.is_empty() || self.tasks.contains(&task.index))
    }
}

impl Batch {
    /// The number of the line after its last.
    pub fn end(&self) -> u32 {
        self.first.saturating_add(u32::try_from(self.lines.len()).unwrap_or(u32::MAX))
    }

    /// The bytes of its text.
    pub fn bytes(&self) -> u64 {
        self.lines.iter().map(|line| line.text.len() as u64).sum()
    }

    pub fn into_views(self) -> impl Iterator<Item = LogView> {
        let Lease { task, attempt } = self.lease;
        self.lines.into_iter().map(move |line| LogView {
            stage: task.stage,
            index: task.index,
            attempt,
            at: time(line.at_us),
            level: line.level,
            stream: line.stream,
            text: line.text,
        })
    }
}

/// How far the logs of a run's attempts go, of those that have lines.
pub async fn ends(db: &impl ConnectionTrait, run: RunId) -> Result<HashMap<Lease, End>, DbErr> {
    // In this order, so that what is moved meanwhile is found in its segment.
    let mut ends = tail::ends(db, run).await?;
    for (lease, (lines, bytes)) in segments::ends(db, run).await? {
        let end: &mut End = ends.entry(lease).or_default();
        *end = (end.0.max(lines), end.1.saturating_add(bytes));
    }
    Ok(ends)
}
