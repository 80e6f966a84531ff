//! The coordinator: its queue, its batches, and what goes on in the market.

use std::time::Duration;

use common::market::{Changes, Figures, Receipts};
use common::run::RunState;
use instruments::{Builder, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, count};

const BATCH_BUCKETS: [f64; 11] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
const COMMIT_BUCKETS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

#[derive(Debug)]
pub struct CoordinatorMetrics {
    /// Set before each scrape.
    pub commands_waiting: IntGauge,
    pub leases: IntGauge,
    batch: Histogram,
    commit: Histogram,
    commit_failures: IntCounter,
    runs: Runs,
    tasks_waiting: IntGauge,
    calls_under_way: IntGauge,
    calls_waiting: IntGauge,
    receipts: ReceiptCounters,
}

#[derive(Debug)]
struct Runs {
    scheduled: IntGauge,
    accepted: IntGauge,
    running: IntGauge,
    ending: IntGauge,
    without_credits: IntGauge,
    started: IntCounter,
    ended: IntCounterVec,
}

#[derive(Debug)]
struct ReceiptCounters {
    accepted: IntCounter,
    failed: IntCounter,
    node_fault: IntCounter,
    check: IntCounter,
    outdated: IntCounter,
    invalid: IntCounter,
}

impl CoordinatorMetrics {
    pub(super) fn new(builder: &mut Builder) -> Self {
        Self {
            commands_waiting: builder.gauge(
                "fanfold_coordinator_commands_waiting",
                "Commands that wait in the coordinator's queue",
            ),
            batch: builder.histogram(
                "fanfold_coordinator_batch_commands",
                "Commands that one batch covers",
                &BATCH_BUCKETS,
            ),
            commit: builder.histogram(
                "fanfold_coordinator_commit_duration_seconds",
                "Time until a batch is on disk, with all tries",
                &COMMIT_BUCKETS,
            ),
            commit_failures: builder.counter(
                "fanfold_coordinator_commit_failures_total",
                "Tries to store a batch that have failed; each is made again",
            ),
            runs: Runs::new(builder),
            tasks_waiting: builder.gauge(
                "fanfold_tasks_waiting",
                "Tasks that are handed out as soon as a node has room for them",
            ),
            calls_under_way: builder
                .gauge("fanfold_calls_under_way", "HTTP calls whose answers the server waits for"),
            calls_waiting: builder.gauge(
                "fanfold_calls_waiting",
                "HTTP calls that a limit stops; those that pause before a retry do not count",
            ),
            leases: builder.gauge("fanfold_leases", "Leases in force: tasks that nodes hold"),
            receipts: ReceiptCounters::new(builder),
        }
    }

    /// A batch of this many commands is applied.
    pub fn batch(&self, commands: usize) {
        self.batch.observe(f64::from(u32::try_from(commands).unwrap_or(u32::MAX)));
    }

    /// A batch is on disk after this long.
    pub fn committed(&self, took: Duration) {
        self.commit.observe(took.as_secs_f64());
    }

    pub fn commit_failed(&self) {
        self.commit_failures.inc();
    }

    /// What a batch has changed, once it is on disk.
    pub fn changed(&self, changes: &Changes) {
        self.runs.started.inc_by(changes.new_runs.len() as u64);
        for ended in changes.ended.iter().filter(|ended| ended.state.is_final()) {
            self.runs.ended.with_label_values(&[ended.state.as_str()]).inc();
        }
        self.receipts.count(changes.receipts);
    }

    /// How much there is now.
    pub fn stands(&self, figures: &Figures) {
        let Runs { scheduled, accepted, running, ending, without_credits, .. } = &self.runs;
        scheduled.set(count(figures.scheduled));
        accepted.set(count(figures.accepted));
        running.set(count(figures.running));
        ending.set(count(figures.ending));
        without_credits.set(count(figures.runs_without_credits));
        self.tasks_waiting.set(count(figures.tasks_waiting));
        self.calls_under_way.set(count(figures.calls_under_way));
        self.calls_waiting.set(count(figures.calls_waiting));
    }

    /// A receipt is not well signed, or cannot be read.
    pub fn invalid_receipt(&self) {
        self.receipts.invalid.inc();
    }
}

impl Runs {
    fn new(builder: &mut Builder) -> Self {
        let states: IntGaugeVec =
            builder.gauges("fanfold_runs", "Runs that have not ended, by their state", &["state"]);
        let state = |state: RunState| states.with_label_values(&[state.as_str()]);
        let without_credits = builder.gauge(
            "fanfold_runs_without_credits",
            "Runs that wait because their wallet does not cover one more task",
        );
        let started = builder.counter("fanfold_runs_started_total", "Runs that have been accepted");
        let ended = builder.counters(
            "fanfold_runs_ended_total",
            "Runs that have ended, by their last state",
            &["state"],
        );
        for last in RunState::ALL.into_iter().filter(|state| state.is_final()) {
            ended.with_label_values(&[last.as_str()]);
        }
        Self {
            scheduled: state(RunState::Scheduled),
            accepted: state(RunState::Accepted),
            running: state(RunState::Running),
            ending: state(RunState::Ending),
            without_credits,
            started,
            ended,
        }
    }
}

impl ReceiptCounters {
    fn new(builder: &mut Builder) -> Self {
        let outcomes = builder.counters(
            "fanfold_receipts_total",
            "Receipts by what became of them: `accepted`, `failed` (no result, the node is not at \
             fault), `node_fault`, `check` (a spot check), `outdated` (the node does not hold the \
             lease), `invalid` (not well signed)",
            &["outcome"],
        );
        let of = |outcome| outcomes.with_label_values(&[outcome]);
        Self {
            accepted: of("accepted"),
            failed: of("failed"),
            node_fault: of("node_fault"),
            check: of("check"),
            outdated: of("outdated"),
            invalid: of("invalid"),
        }
    }

    fn count(&self, receipts: Receipts) {
        let Receipts { accepted, failed, node_fault, check, outdated } = receipts;
        for (counter, more) in [
            (&self.accepted, accepted),
            (&self.failed, failed),
            (&self.node_fault, node_fault),
            (&self.check, check),
            (&self.outdated, outdated),
        ] {
            counter.inc_by(more.into());
        }
    }
}
