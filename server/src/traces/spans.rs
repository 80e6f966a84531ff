//! From what has ended to its spans, and nothing else: run → stage → task → attempt.

use chrono::{DateTime, Utc};
use common::market::{Cursor, RunRecord, StageRecord};
use common::plan::BlockId;
use common::run::task::{Lease, StageNo};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanId;
use opentelemetry_sdk::trace::SpanData;

use super::cause;
use super::ended::{About, Ended, TaskEnd, What};
use super::ids;
use super::span::{End, Span};

/// The spans of what has ended. `begun` is when a task was first handed out, where that is known.
pub fn of(ended: &Ended, begun: Option<DateTime<Utc>>) -> Vec<SpanData> {
    let Ended { run, what } = ended;
    match what {
        What::Run(record) => of_run(run, record).into_iter().collect(),
        What::Stage(record) => of_stage(run, record).into_iter().collect(),
        What::Attempt(task) => {
            of_attempt(run, task, End::of_attempt(&task.record)).into_iter().collect()
        }
        What::Task(task) => {
            let end = End::of_task(run.state, &task.record);
            of_attempt(run, task, end).into_iter().chain([of_task(run, task, begun, end)]).collect()
        }
    }
}

fn of_run(run: &About, record: &RunRecord) -> Option<SpanData> {
    let (first, ended) = (record.times.states.values().min()?, record.times.of(record.state)?);
    let (id, parent, name, began) = match run.again_at {
        None => (ids::run(run.id), SpanId::INVALID, "run", *first),
        Some(at) => (ids::redelivery(run.id, at), ids::run(run.id), "redelivery", at),
    };
    let mut attributes = vec![
        KeyValue::new("fanfold.template", run.spec.template.clone()),
        KeyValue::new("fanfold.price", record.captured.to_string()),
    ];
    attributes.extend(record.counts.total.map(|n| KeyValue::new("fanfold.chunks", i64::from(n))));
    let span = Span {
        id,
        parent,
        name: name.into(),
        began,
        ended,
        end: End::of_run(record.state),
        reason: record.error(),
        attributes,
        events: Vec::new(),
    };
    Some(span.of(run))
}

fn of_stage(run: &About, record: &StageRecord) -> Option<SpanData> {
    let ended = record.ended.filter(|_| !run.is_all(record.no))?;
    let (id, parent, began) = match run.again_at {
        None => {
            let parent = record.parent.filter(|parent| !run.is_all(*parent));
            let parent = parent.map_or(ids::run(run.id), |parent| ids::stage(run.id, parent));
            (ids::stage(run.id, record.no), parent, record.opened_at)
        }
        // What the delivery is in has its span from the first time.
        Some(at) if matches!(record.cursor, Cursor::Step) => {
            (ids::stage_again(run.id, record.no, at), ids::redelivery(run.id, at), at)
        }
        Some(_) => return None,
    };
    let mut attributes = place(run, record.no, record.block);
    attributes.extend(record.item.map(|item| KeyValue::new("fanfold.item", i64::from(item))));
    if let Cursor::Child(child) = &record.cursor {
        attributes.push(KeyValue::new("fanfold.child", child.to_string()));
    }
    let span = Span {
        id,
        parent,
        name: format!("stage {}", run.spec.plan.block(record.block).name).into(),
        began,
        ended: ended.at,
        end: if ended.is_cut_off() { End::with_run(run.state) } else { End::Succeeded },
        reason: Some("the run ended before this stage"),
        attributes,
        events: Vec::new(),
    };
    Some(span.of(run))
}

fn of_task(run: &About, task: &TaskEnd, begun: Option<DateTime<Utc>>, end: End) -> SpanData {
    let TaskEnd { record, block } = task;
    let ended = record.ended_at.or(record.leased_at).unwrap_or_default();
    let mut attributes = place(run, record.task.stage, *block);
    attributes.extend([
        KeyValue::new("fanfold.task", record.task.id().to_string()),
        KeyValue::new("fanfold.index", i64::from(record.task.index)),
        KeyValue::new("fanfold.attempts", i64::from(record.attempt)),
    ]);
    let span = Span {
        id: ids::task(record.task),
        parent: ids::stage(run.id, record.task.stage),
        name: "task".into(),
        began: begun.or(record.leased_at).unwrap_or(ended),
        ended,
        end,
        reason: record.error.as_deref(),
        attributes,
        events: Vec::new(),
    };
    span.of(run)
}

/// The attempt that a record is of; `None` where its task waited for the next one.
fn of_attempt(run: &About, TaskEnd { record, block }: &TaskEnd, end: End) -> Option<SpanData> {
    let (began, task, attempt) = (record.leased_at?, record.task, record.attempt);
    let mut attributes = place(run, task.stage, *block);
    attributes.extend([
        KeyValue::new("fanfold.task", task.id().to_string()),
        KeyValue::new("fanfold.index", i64::from(task.index)),
        KeyValue::new("fanfold.attempt", i64::from(attempt)),
        KeyValue::new("fanfold.price", record.price.to_string()),
    ]);
    attributes.extend(record.node.map(|node| KeyValue::new("fanfold.node", node.to_string())));
    if end == End::Failed {
        attributes.extend(cause::attributes(record));
    }
    let events = [("received", record.received_at), ("running", record.running_at)];
    let span = Span {
        id: ids::attempt(Lease { task, attempt }),
        parent: ids::task(task),
        name: "attempt".into(),
        began,
        ended: record.ended_at.unwrap_or(began),
        end,
        reason: record.error.as_deref(),
        attributes,
        events: events.into_iter().filter_map(|(name, at)| Some((name, at?))).collect(),
    };
    Some(span.of(run))
}

/// Where in its run something stands.
fn place(run: &About, stage: StageNo, block: BlockId) -> Vec<KeyValue> {
    let block = run.spec.plan.block(block);
    let stage = KeyValue::new("fanfold.stage", i64::from(stage.number()));
    let name = KeyValue::new("fanfold.block", block.name.clone());
    let phase = block.phase.map(|phase| KeyValue::new("fanfold.phase", phase.as_str()));
    [stage, name].into_iter().chain(phase).collect()
}
