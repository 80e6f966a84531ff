//! What expressions have given, and the values that they read.

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};

use super::Next;
use crate::ids::RunId;
use crate::market::Market;
use crate::market::stage::Open;
use crate::market::stage::frozen::{Fault, Resolution};
use crate::market::stage::values::{TooMuch, ValueRecord};
use crate::plan::BlockId;
use crate::run::cause::{Cause, CauseKind};
use crate::run::task::{StageNo, TaskRef};

impl Market {
    /// The expressions of a stage have been evaluated. What they gave is stored once: it is not
    /// asked for again. A stage that does not wait for it any more stays as it is.
    pub fn resolved(
        &mut self,
        id: RunId,
        no: StageNo,
        answer: Result<Resolution, Fault>,
        now: DateTime<Utc>,
    ) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let Some(stage) = run.stage(no).filter(|stage| stage.is_asking()) else { return };
        let is_output = stage.is_output();
        let resolution = match answer {
            Ok(resolution) => resolution,
            Err(fault) => {
                run.note_failed_in(no);
                return self.fail(id, Cause::new(CauseKind::Plan, fault.to_string()), now);
            }
        };
        if is_output {
            run.set_output(resolution.output);
            return self.follow(id, Next::End(no), now);
        }
        if resolution.is_skipped {
            return self.follow(id, Next::Skip(no), now);
        }
        run.note_length(no, &resolution);
        let resolution = Arc::new(resolution);
        if let Some(stage) = run.stage_mut(no) {
            stage.resolved = Some(Arc::clone(&resolution));
            // What its tasks read has the list's elements, too.
            stage.frozen = OnceLock::new();
        }
        self.outbox.changes.resolutions.push((id, no, resolution));
        self.follow(id, Next::Begin(no), now);
    }

    /// Takes the value that a task, a call or a part of a run has given.
    pub(in crate::market) fn take_value(
        &mut self,
        task: TaskRef,
        value: Option<Arc<str>>,
        now: DateTime<Utc>,
    ) {
        let Some(run) = self.runs.get_mut(&task.run) else { return };
        let Some(value) = value else { return };
        let taken = run.take_value(task.stage, task.index, value);
        // A run that cannot keep it has ended.
        let _ = self.keep(task.run, taken, now);
    }

    /// Gathers what the elements of a list have given that ends. Where that is too much, the run
    /// ends.
    pub(super) fn gather(
        &mut self,
        id: RunId,
        no: StageNo,
        now: DateTime<Utc>,
    ) -> Result<(), TooMuch> {
        let Some(run) = self.runs.get_mut(&id) else { return Ok(()) };
        let gathered = run.gather(no);
        self.keep(id, gathered, now)
    }

    fn keep(
        &mut self,
        id: RunId,
        taken: Result<Option<ValueRecord>, TooMuch>,
        now: DateTime<Utc>,
    ) -> Result<(), TooMuch> {
        match taken {
            Ok(record) => {
                if record.is_some() {
                    // Its number is the run's.
                    self.outbox.runs.insert(id);
                }
                self.outbox.changes.values.extend(record);
                Ok(())
            }
            Err(too_much) => {
                self.fail(id, Cause::new(CauseKind::Plan, too_much.to_string()), now);
                Err(too_much)
            }
        }
    }

    /// Whether everything in a run has ended, and what it gives is still to be evaluated.
    pub(super) fn asks_for_output(&mut self, id: RunId, no: StageNo) -> bool {
        let Some(run) = self.runs.get_mut(&id) else { return false };
        let seen = run.values_seen();
        let has_output = run.spec.plan.output().is_some();
        let Some(stage) = run.stage_mut(no) else { return false };
        if stage.block != BlockId::ROOT || !has_output || stage.is_output() {
            return false;
        }
        let tasks = stage.tasks().map(|tasks| (tasks.line, tasks.place));
        stage.open = Open::Output;
        stage.seen = seen;
        stage.frozen = OnceLock::new();
        if let Some((Some(line), place)) = tasks {
            self.queue.leave(line, place);
        }
        self.outbox.stages.insert((id, no));
        self.outbox.changes.questions.push((id, no));
        true
    }
}
