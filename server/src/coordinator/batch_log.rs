//! What a batch has changed, as the log shows it: runs, stages, tasks, and lines of statements. It
//! is written when the batch is on disk. What happens once for each task is logged at the level
//! debug, but for attempts that failed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::ids::RunId;
use common::market::{
    Changes, Cursor, LeaseChange, RunRecord, SetAside, Skip, SkipCause, StageOutcome, StageRecord,
    TaskRecord, TaskState,
};
use common::money::statement::Line;
use common::run::RunState;
use tracing::Span;
use tracing::field::display;

/// What the log is told beside the changes.
pub(super) struct About<'a> {
    /// When the changes were made.
    pub at: DateTime<Utc>,
    /// The requests that started runs, as spans.
    pub requests: &'a BTreeMap<RunId, Span>,
    /// Committed since the start.
    pub transactions: u64,
}

/// Writes a batch to the log.
pub(super) fn write(changes: &Changes, about: &About<'_>) {
    for run in changes.runs.iter().filter(|run| changes.new_runs.contains(&run.id)) {
        match about.requests.get(&run.id) {
            Some(request) => request.in_scope(|| accepted(run)),
            None => accepted(run),
        }
    }
    let is_debug = tracing::enabled!(tracing::Level::DEBUG);
    if is_debug {
        let done = changes.tasks.iter().filter(|task| task.state == TaskState::Done);
        done.for_each(receipt_accepted);
    }
    let last = changes.tasks.iter().filter(|task| task.state == TaskState::Failed);
    let last = last.filter(|task| !task.is_cut_off());
    changes.attempts.iter().chain(last).for_each(attempt_failed);
    changes.stages.iter().for_each(|stage| stage_changed(stage, about.at));
    if is_debug {
        changes.leases.iter().for_each(task_leased);
    }
    changes.lines.iter().for_each(line_written);
    for run in changes.runs.iter().filter(|run| run.state.is_final()) {
        ended(run, about.transactions);
    }
    changes.skips.iter().for_each(skipped);
    for SetAside { run, cause, .. } in &changes.set_aside {
        let state = RunState::Failed.as_str();
        tracing::info!(%run, state, error = cause.message, "run ended");
    }
}

fn skipped(skip: &Skip) {
    let Skip { job, first, last, why, .. } = skip;
    let (cause, error) = match why {
        SkipCause::Job(error) => (why.as_str(), Some(error)),
        SkipCause::Missed | SkipCause::Overlap => (why.as_str(), None),
    };
    tracing::info!(%job, %first, %last, cause, error, "nominal times made no run");
}

fn accepted(run: &RunRecord) {
    let RunRecord { id, spec, .. } = run;
    let parent = spec.parent().map(|parent| display(parent.run));
    let (job, workspace) = (spec.job, spec.workspace);
    tracing::info!(run = %id, %job, %workspace, parent, "run accepted");
}

fn ended(run: &RunRecord, transactions: u64) {
    let RunRecord { id, spec, state, captured, .. } = run;
    let (state, error) = (state.as_str(), run.error());
    tracing::info!(
        run = %id,
        job = %spec.job,
        state,
        price = %captured,
        error,
        transactions,
        "run ended"
    );
}

fn stage_changed(stage: &StageRecord, at: DateTime<Utc>) {
    if stage.opened_at == at {
        stage_is(stage, "opened");
    }
    if let Some(end) = stage.ended {
        let how = match end.how {
            StageOutcome::Done => "ended",
            StageOutcome::Skipped => "skipped",
            StageOutcome::CutOff => "cut off",
        };
        stage_is(stage, how);
    }
}

/// The elements of a list can be many, and the root is the run itself.
fn stage_is(record: &StageRecord, what: &str) {
    let StageRecord { run, no, block, parent, cursor, .. } = record;
    let (kind, tasks) = match cursor {
        Cursor::Group(_) => ("group", None),
        Cursor::Each(_) => ("list", None),
        Cursor::Tasks { len, .. } => ("tasks", Some(*len)),
        Cursor::Step => ("step", None),
        Cursor::Child(_) => ("child", None),
        Cursor::Call => ("call", None),
        Cursor::Resolving => ("expressions", None),
        Cursor::Output => ("output", None),
    };
    if *no == block.stage() && parent.is_some() {
        tracing::info!(%run, stage = %no, kind, tasks, "stage {what}");
    } else {
        tracing::debug!(%run, stage = %no, kind, tasks, "stage {what}");
    }
}

fn task_leased(change: &LeaseChange) {
    let LeaseChange::Granted { node, lease } = change else { return };
    let (task, attempt) = (lease.task, lease.attempt);
    tracing::debug!(
        run = %task.run,
        stage = %task.stage,
        task = %task.id(),
        attempt,
        %node,
        "task leased"
    );
}

fn receipt_accepted(record: &TaskRecord) {
    let TaskRecord { task, attempt, node, price, .. } = record;
    tracing::debug!(
        run = %task.run,
        stage = %task.stage,
        task = %task.id(),
        attempt,
        node = node.map(display),
        %price,
        "receipt accepted"
    );
}

fn attempt_failed(record: &TaskRecord) {
    let TaskRecord { task, attempt, node, price, error, .. } = record;
    tracing::info!(
        run = %task.run,
        stage = %task.stage,
        task = %task.id(),
        attempt,
        node = node.map(display),
        %price,
        error = error.as_deref(),
        "attempt failed"
    );
}

fn line_written(line: &Line) {
    let Line { owner, number, kind, run, .. } = line;
    let (kind, run) = (kind.as_str(), run.map(display));
    tracing::info!(
        workspace = %owner,
        line = number,
        kind,
        amount = %line.signed_amount(),
        run,
        "statement line written"
    );
}
