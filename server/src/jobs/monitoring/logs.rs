//! What the containers of a job wrote, and their nodes around them.

use chrono::{DateTime, Utc};
use common::plan::Phase;
use common::protocol::{Level, Stream};
use common::run::task::{StageNo, TaskRef};
use serde::{Deserialize, Serialize};

use super::status;
use super::status::RunName;
use super::tasks::{TaskName, indexes, phase_of};
use crate::app::App;
use crate::error::Result;
use crate::logs::reader::Logs;
use crate::people::caller::Caller;
use crate::store::logs::Filter;
use crate::store::market::runs;

/// A page ends with the batch of lines that takes it to this number of bytes, written as JSON.
pub const PAGE_BYTES: usize = 1 << 20;
/// What is looked through for a page, where levels leave most of it out.
const SCANNED_BYTES: u64 = 16 << 20;
/// What a line's fields take beside its text.
const LINE_BYTES: usize = 128;

/// Where a page ends: the number of the last batch of lines on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchPlace(i64);

/// Which lines are asked for.
#[derive(Debug, Default)]
pub struct LogQuery {
    /// Of containers in these phases; none stands for all.
    pub phases: Vec<Phase>,
    /// Of these tasks; none stands for all.
    pub tasks: Vec<TaskName>,
    /// `None` stands for all.
    pub levels: Option<Vec<Level>>,
    /// After the page that ended here.
    pub after: Option<BatchPlace>,
}

/// A page of lines, in the order in which they came.
#[derive(Debug, Default)]
pub struct LogPage {
    pub lines: Vec<LogEntry>,
    /// Where there may be more: what they come after.
    pub next: Option<BatchPlace>,
}

/// A line of a task's log.
#[derive(Debug)]
pub struct LogEntry {
    pub task: TaskRef,
    pub phase: Phase,
    pub at: DateTime<Utc>,
    pub level: Level,
    pub stream: Stream,
    pub text: String,
}

/// What the containers of the caller's job, or run, of this name wrote, at the level `Unknown`, and what
/// their nodes say of them; `None` where a name is not of a task of the job.
pub async fn read(
    app: &App,
    caller: &Caller,
    name: impl Into<RunName>,
    query: LogQuery,
) -> Result<Option<LogPage>> {
    let LogQuery { phases, tasks, levels, after } = query;
    let (_, run) = status::find(app, caller, name).await?;
    let mut page = LogPage::default();
    let Some(run) = run else { return Ok(Some(page)) };
    let Some(plan) = runs::plan(&app.db, run.id).await? else { return Ok(Some(page)) };
    let of = phases.iter().filter_map(|phase| plan.container_of(*phase));
    let stages: Vec<StageNo> = of.map(|(stage, _)| stage).collect();
    if stages.is_empty() && !phases.is_empty() {
        return Ok(Some(page));
    }
    let Some(indexes) = indexes(run.id, &tasks) else { return Ok(None) };
    let (mut bytes, mut scanned) = (0, 0);
    let filter = Filter { stages: &stages, tasks: &indexes };
    let logs = Logs { db: &app.db, data: &app.data };
    let mut scan = logs.scan(run.id, filter, after.map(|BatchPlace(number)| number));
    while let Some(found) = scan.next().await? {
        for batch in found {
            let place = BatchPlace(batch.number);
            scanned += batch.bytes();
            for line in batch.into_views() {
                if levels.as_ref().is_none_or(|levels| levels.contains(&line.level)) {
                    bytes += LINE_BYTES + written_bytes(&line.text);
                    page.lines.push(LogEntry {
                        task: TaskRef { run: run.id, stage: line.stage, index: line.index },
                        phase: phase_of(&plan, line.stage).unwrap_or(Phase::Process),
                        at: line.at,
                        level: line.level,
                        stream: line.stream,
                        text: line.text,
                    });
                }
            }
            if bytes >= PAGE_BYTES || scanned >= SCANNED_BYTES {
                page.next = Some(place);
                return Ok(Some(page));
            }
        }
    }
    Ok(Some(page))
}

/// What a text takes in JSON, at most.
fn written_bytes(text: &str) -> usize {
    let escaped = text.bytes().filter(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\'));
    text.len() + 5 * escaped.count()
}
