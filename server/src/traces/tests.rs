//! Runs of a market in memory, and the spans that they leave.

mod restart;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use common::compute::resources::Usage;
use common::ids::{NodeId, WorkspaceId};
use common::market::{CheckedSync, Policy, Run, StageEnd, Stored};
use common::plan::{Limits, Pipeline};
use common::protocol::{Failure, Held, Outcome, Sync};
use common::run::cause::{Cause, CauseKind};
use common::run::spec::RunSpec;
use common::run::task::{Lease, StageNo};
use common::testing::{self, at, chunks, do_steps, pipeline, process, start_cut};
use opentelemetry::trace::{SpanId, Status};
use opentelemetry_sdk::trace::SpanData;
use uuid::Uuid;

use super::*;

const RUN: RunId = RunId::new(Uuid::from_u128(1 << 90));
const CUSTOMER: WorkspaceId = WorkspaceId::new(Uuid::from_u128(2));
const OPERATOR: WorkspaceId = WorkspaceId::new(Uuid::from_u128(3));
const NODE: NodeId = NodeId::new(Uuid::from_u128(4));
/// The stages of a pipeline with built-in engines.
const PARTITION: StageNo = StageNo::new(1);
const DELIVERY: StageNo = StageNo::new(4);

fn spec(task_retries: u32) -> RunSpec {
    let limits = Limits { task_retries, ..Limits::default() };
    testing::order(CUSTOMER, &Pipeline { limits, ..pipeline() })
}

fn funded() -> Market {
    let mut market = Market::load(Policy::default(), Stored::default(), at(0));
    market.trust(OPERATOR);
    market.grant(CUSTOMER, "1000".parse().unwrap(), "gift", at(0)).unwrap();
    market
}

fn says(receipts: &[(Lease, Outcome)], holding: &[Lease]) -> CheckedSync {
    let receipt = |(lease, outcome): &(Lease, Outcome)| {
        testing::receipt(*lease, outcome.clone(), Usage::default())
    };
    let holds = |lease: &Lease| Held {
        lease: *lease,
        running_ms: Some(1),
        waits_for_bucket: false,
        progress: None,
    };
    let sync = Sync { holding: holding.iter().map(holds).collect(), ..testing::sync() };
    CheckedSync { sync, receipts: receipts.iter().map(receipt).collect() }
}

/// The node says something, and gets what there is.
fn hear(market: &mut Market, heard: CheckedSync, secs: i64) {
    market.sync(NODE, OPERATOR, heard, at(secs));
    market.dispatch(at(secs));
}

fn succeeds() -> Outcome {
    Outcome::Succeeded { outputs: Vec::new(), value: None }
}

fn fails() -> Outcome {
    Outcome::Failed { failure: Failure::ExitCode(7), message: "no".to_owned() }
}

/// The spans of what has ended since the last call, with when retried tasks began.
fn told_since(market: &mut Market, begun: Option<DateTime<Utc>>) -> Vec<SpanData> {
    let mut changes = market.drain();
    told_of(&mut changes, market, begun)
}

fn told_of(changes: &mut Changes, market: &Market, begun: Option<DateTime<Utc>>) -> Vec<SpanData> {
    let ended = ended::take(changes, market, |_| true);
    ended.iter().flat_map(|ended| spans::of(ended, begun)).collect()
}

fn moment(secs: i64) -> SystemTime {
    at(secs).into()
}

fn id(span: &SpanData) -> SpanId {
    span.span_context.span_id()
}

fn attribute(span: &SpanData, name: &str) -> String {
    let found = span.attributes.iter().find(|of| of.key.as_str() == name);
    found.map_or_else(String::new, |of| of.value.to_string())
}

fn outcomes(spans: &[SpanData], name: &str) -> Vec<String> {
    let named = spans.iter().filter(|span| span.name == name);
    named.map(|span| attribute(span, "fanfold.outcome")).collect()
}

/// The names of a span and of all that it is in, or what is wrong with them.
fn path(spans: &BTreeMap<String, SpanData>, span: &SpanData) -> String {
    if span.parent_span_id == SpanId::INVALID {
        return span.name.to_string();
    }
    match spans.get(&span.parent_span_id.to_string()) {
        Some(parent) => format!("{} / {}", path(spans, parent), span.name),
        None => format!("MISSING / {}", span.name),
    }
}

/// The paths of all spans, each of which has an id of its own in the run's trace.
fn paths(spans: &[SpanData]) -> Vec<String> {
    let by_id: BTreeMap<String, SpanData> =
        spans.iter().map(|span| (id(span).to_string(), span.clone())).collect();
    assert_eq!(by_id.len(), spans.len(), "two spans have one id");
    assert!(spans.iter().all(|span| span.span_context.trace_id() == ids::trace(RUN)));
    let mut paths: Vec<String> = spans.iter().map(|span| path(&by_id, span)).collect();
    paths.sort();
    paths
}

#[test]
fn spans_of_a_run_are_nested_as_run_stage_task_attempt() {
    let mut market = funded();
    start_cut(&mut market, RUN, spec(1), 2, at(0));
    let mut spans = told_since(&mut market, None);
    let [first, second, again] = [process(RUN, 0, 1), process(RUN, 1, 1), process(RUN, 0, 2)];
    hear(&mut market, says(&[], &[]), 1);
    hear(&mut market, says(&[(first, fails())], &[second]), 3);
    spans.extend(told_since(&mut market, None));
    hear(&mut market, says(&[(second, succeeds())], &[again]), 5);
    spans.extend(told_since(&mut market, None));
    hear(&mut market, says(&[(again, succeeds())], &[]), 7);
    do_steps(&mut market, RUN, 2, at(8));
    spans.extend(told_since(&mut market, Some(at(1))));

    assert_eq!(
        paths(&spans),
        [
            "run",
            "run / stage app",
            "run / stage app / task",
            "run / stage app / task",
            "run / stage app / task / attempt",
            "run / stage app / task / attempt",
            "run / stage app / task / attempt",
            "run / stage assembler",
            "run / stage partitioner",
        ]
    );
    let failed = spans.iter().find(|span| id(span) == ids::attempt(first)).unwrap();
    assert_eq!(attribute(failed, "fanfold.outcome"), "failed");
    assert_eq!(attribute(failed, "fanfold.cause"), "exit_code");
    assert_eq!(attribute(failed, "process.exit.code"), "7");
    assert_eq!(attribute(failed, "fanfold.node"), NODE.to_string());
    assert_eq!(attribute(failed, "fanfold.phase"), "process");
    assert!(
        matches!(&failed.status, Status::Error { description } if description.contains("(no)"))
    );
    let task = spans.iter().find(|span| id(span) == ids::task(first.task)).unwrap();
    assert_eq!(attribute(task, "fanfold.outcome"), "succeeded");
    assert_eq!((task.start_time, task.end_time), (moment(1), moment(7)));
    let run = spans.last().unwrap();
    assert_eq!((run.start_time, run.end_time), (moment(0), moment(8)));
    assert_eq!(attribute(run, "fanfold.chunks"), "2");
}

#[test]
fn cancelled_run_and_what_was_cut_off_are_no_errors() {
    let mut market = funded();
    start_cut(&mut market, RUN, spec(0), 2, at(0));
    hear(&mut market, says(&[], &[]), 1);

    market.cancel(RUN, "enough".to_owned(), at(2)).unwrap();
    let mut spans = told_since(&mut market, None);
    hear(&mut market, says(&[], &[]), 3);
    spans.extend(told_since(&mut market, None));

    assert!(!paths(&spans).iter().any(|path| path.contains("MISSING")), "{spans:?}");
    for name in ["attempt", "task", "stage app", "run"] {
        let outcomes = outcomes(&spans, name);
        assert!(!outcomes.is_empty() && outcomes.iter().all(|of| of == "cancelled"), "{name}");
    }
    let is_error = |span: &SpanData| matches!(span.status, Status::Error { .. });
    assert!(!spans.iter().any(is_error), "{spans:?}");
}

#[test]
fn failed_run_ends_the_spans_of_what_it_left() {
    let mut market = funded();
    start_cut(&mut market, RUN, spec(0), 2, at(0));
    hear(&mut market, says(&[], &[]), 1);
    let [first, second] = [process(RUN, 0, 1), process(RUN, 1, 1)];

    hear(&mut market, says(&[(first, fails())], &[second]), 2);
    let spans = told_since(&mut market, None);

    assert_eq!(paths(&spans).len(), 7, "{spans:?}");
    let mut tasks = outcomes(&spans, "task");
    tasks.sort();
    assert_eq!(tasks, ["failed", "unfinished"]);
    assert_eq!(outcomes(&spans, "stage app"), ["unfinished"]);
    assert_eq!(outcomes(&spans, "run"), ["failed"]);
}

/// What was stored of a run at its end.
fn stored(changes: &Changes) -> Run {
    let record = changes.runs.iter().find(|run| run.id == RUN).unwrap().clone();
    let cut_off =
        changes.stages.iter().filter(|stage| stage.ended.is_some_and(StageEnd::is_cut_off));
    cut_off.fold(Run::load(record), Run::with_stage)
}

fn refused() -> Cause {
    Cause::new(CauseKind::Destination, "refused")
}

#[test]
fn redelivery_has_spans_of_its_own_each_time() {
    let mut market = funded();
    start_cut(&mut market, RUN, spec(0), 1, at(0));
    hear(&mut market, says(&[], &[]), 1);
    hear(&mut market, says(&[(process(RUN, 0, 1), succeeds())], &[]), 2);
    let mut spans = told_since(&mut market, None);
    let mut end = |market: &mut Market| {
        let mut changes = market.drain();
        let run = (market.run(RUN).is_none()).then(|| stored(&changes));
        spans.extend(told_of(&mut changes, market, None));
        run
    };

    market.break_off(RUN, refused(), at(3)).unwrap();
    let run = end(&mut market).unwrap();
    market.deliver_again(run, at(10)).unwrap();
    end(&mut market);
    market.break_off(RUN, refused(), at(11)).unwrap();
    let run = end(&mut market).unwrap();
    market.deliver_again(run, at(20)).unwrap();
    market.step_done(RUN, DELIVERY, None, at(21));
    end(&mut market).unwrap();

    assert_eq!(
        paths(&spans),
        [
            "run",
            "run / redelivery",
            "run / redelivery",
            "run / redelivery / stage assembler",
            "run / redelivery / stage assembler",
            "run / stage app",
            "run / stage app / task",
            "run / stage app / task / attempt",
            "run / stage assembler",
            "run / stage partitioner",
        ]
    );
    assert_eq!(outcomes(&spans, "redelivery"), ["failed", "succeeded"]);
    assert_eq!(outcomes(&spans, "stage assembler"), ["unfinished", "unfinished", "succeeded"]);
}

#[test]
fn run_that_is_not_sampled_leaves_nothing() {
    let mut market = funded();
    start_cut(&mut market, RUN, spec(0), 1, at(0));
    market.cancel(RUN, "enough".to_owned(), at(2)).unwrap();

    assert!(ended::take(&mut market.drain(), &market, |_| false).is_empty());
}

#[test]
fn full_queue_drops_and_counts() {
    let (queue, mut waiting) = mpsc::channel(1);
    let lost = Arc::<AtomicU64>::default();
    let sending = Sending { queue, sampler: Sampler::AlwaysOn, lost: Arc::clone(&lost) };
    let traces = Traces { sending: Some(sending) };
    let mut market = funded();
    market.start_run(RUN, Arc::new(spec(0)), at(0)).unwrap();
    market.step_done(RUN, PARTITION, Some(chunks(1)), at(1));
    market.cancel(RUN, "enough".to_owned(), at(2)).unwrap();

    // The partition, what was left of the run, and the run.
    traces.tell(&mut market.drain(), &market);

    assert!(waiting.try_recv().is_ok() && waiting.try_recv().is_err());
    assert!(lost.load(Ordering::Relaxed) >= 2);
}
