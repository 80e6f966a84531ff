//! How a run follows its plan: which blocks are opened, and what the end of one leads to.
//!
//! One list of what comes next is worked off, so that no depth of a plan is a depth of calls.

pub(super) mod again;
mod answers;
mod callbacks;
pub(super) mod cancel;
pub(super) mod life;
mod opening;
pub(super) mod set_aside;

use std::num::NonZeroU32;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Market;
use super::outbox::Notice;
use super::stage::{Open, Stage, StageEnd, StageOutcome};
use crate::data::chunk_table::ChunkTable;
use crate::ids::RunId;
use crate::plan::{BlockId, Body, DataTask, Phase};
use crate::run::RunState;
use crate::run::cause::{Cause, CauseKind};
use crate::run::spec::Parent;
use crate::run::task::{StageNo, TaskRef};

/// Elements with stages of their own that are open at a time in one list.
const AT_ONCE_MAX: u32 = 256;

/// What has to be done next of a run.
enum Next {
    Open(Opening),
    /// What its expressions decide of the stage is known.
    Begin(StageNo),
    /// Everything in the stage has ended.
    End(StageNo),
    /// The condition of the stage is false.
    Skip(StageNo),
}

struct Opening {
    block: BlockId,
    parent: Option<StageNo>,
    item: Option<u32>,
}

impl Market {
    /// Opens the root of a run's plan.
    pub(super) fn begin(&mut self, id: RunId, now: DateTime<Utc>) {
        let root = Opening { block: BlockId::ROOT, parent: None, item: None };
        self.follow(id, Next::Open(root), now);
    }

    /// A step of the server is done. What it found or cut is in the table.
    pub fn step_done(
        &mut self,
        id: RunId,
        no: StageNo,
        table: Option<ChunkTable>,
        now: DateTime<Utc>,
    ) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let Some(block) = run.stage(no).filter(|stage| stage.is_step()).map(|stage| stage.block)
        else {
            return;
        };
        if let Some(table) = table {
            let Body::Data(task) = &run.spec.plan.block(block).body else { return };
            let is_cut = !matches!(**task, DataTask::Look { .. });
            if is_cut && table.is_empty() {
                let mut reason = "the partitioner produced no chunks".to_owned();
                if let Some(warning) = &run.warning {
                    reason = format!("{reason}; {warning}");
                }
                self.fail(id, Cause::new(CauseKind::Source, reason), now);
                return;
            }
            self.put_table(id, block, table);
        }
        self.follow(id, Next::End(no), now);
    }

    fn put_table(&mut self, id: RunId, block: BlockId, table: ChunkTable) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let table = Arc::new(table);
        run.put_table(block, Arc::clone(&table));
        self.outbox.changes.tables.push((id, block, table));
    }

    /// A step of the server has come to another phase of its run.
    pub fn step_enters(&mut self, id: RunId, no: StageNo, phase: Phase, now: DateTime<Utc>) {
        let run = self.runs.get(&id).and_then(|run| run.stage(no));
        if run.is_some_and(Stage::is_step) {
            self.enter_phase(id, phase, now);
        }
    }

    /// A step of the server goes on without something that its customer should know of.
    pub fn step_warns(&mut self, id: RunId, no: StageNo, warning: String) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.stage(no).is_some_and(Stage::is_step) {
            run.warning = Some(warning);
            self.outbox.runs.insert(id);
        }
    }

    /// Ends a stage of tasks of which nothing is left to do.
    pub(super) fn end_if_over(&mut self, id: RunId, no: StageNo, now: DateTime<Utc>) {
        let stage = self.runs.get(&id).and_then(|run| run.tasks(no));
        if stage.is_some_and(|stage| stage.tasks.is_over()) {
            self.follow(id, Next::End(no), now);
        }
    }

    /// A call has been accepted.
    pub(super) fn end_stage_of_call(&mut self, id: RunId, no: StageNo, now: DateTime<Utc>) {
        self.follow(id, Next::End(no), now);
    }

    /// A run has ended that a stage of another one waits for: with what it gives, or for a reason.
    pub(super) fn child_ended(
        &mut self,
        parent: Parent,
        child: RunId,
        end: Result<Option<Arc<str>>, String>,
        now: DateTime<Utc>,
    ) {
        let stage = self.runs.get(&parent.run).and_then(|run| run.stage(parent.stage));
        if !stage.is_some_and(|stage| stage.waits_for(child)) {
            return;
        }
        match end {
            Ok(output) => {
                let task = TaskRef { run: parent.run, stage: parent.stage, index: 0 };
                self.take_value(task, output, now);
                self.follow(parent.run, Next::End(parent.stage), now);
            }
            Err(error) => {
                self.note_failed_in(parent.run, parent.stage);
                let message = format!("a part of it failed: {error}");
                self.fail(parent.run, Cause::new(CauseKind::Part, message), now);
            }
        }
    }

    fn follow(&mut self, id: RunId, first: Next, now: DateTime<Utc>) {
        let mut todo = vec![first];
        while let Some(next) = todo.pop() {
            match next {
                Next::Open(opening) => self.open_block(id, &opening, &mut todo, now),
                Next::Begin(no) => self.begin_stage(id, no, &mut todo, now),
                Next::End(no) => self.end_stage(id, no, StageOutcome::Done, &mut todo, now),
                Next::Skip(no) => self.end_stage(id, no, StageOutcome::Skipped, &mut todo, now),
            }
        }
        self.note_runnable(id);
    }

    fn end_stage(
        &mut self,
        id: RunId,
        no: StageNo,
        how: StageOutcome,
        todo: &mut Vec<Next>,
        now: DateTime<Utc>,
    ) {
        if self.gather(id, no, now).is_err() || self.asks_for_output(id, no) {
            return;
        }
        let Some(run) = self.runs.get_mut(&id) else { return };
        let Some(stage) = run.close(no) else { return };
        if let Some(tasks) = stage.tasks()
            && let Some(line) = tasks.line
        {
            self.queue.leave(line, tasks.place);
        }
        let ended = StageEnd { at: now, how };
        self.outbox.changes.stages.push(stage.record(id, Some(ended)));
        let Some(parent_no) = stage.parent else { return self.succeed(id, now) };
        let spec = Arc::clone(&run.spec);
        let Some(parent) = run.stage_mut(parent_no) else { return };
        let is_over = match (&mut parent.open, &spec.plan.block(parent.block).body) {
            (Open::Group(members), Body::Group(group)) => {
                let place = group.of.iter().position(|of| *of == stage.block);
                let freed = place.map_or_else(Vec::new, |place| members.end(place, &group.after));
                let open = |place: usize| {
                    let block = group.of[place];
                    Next::Open(Opening { block, parent: Some(parent_no), item: None })
                };
                todo.extend(freed.into_iter().rev().map(open));
                members.is_over()
            }
            (Open::Each(elements), Body::Each(each)) => {
                elements.end_one();
                while let Some(n) = elements.open_next(window(each.at_once)) {
                    let (block, item) = (each.body, Some(n));
                    todo.push(Next::Open(Opening { block, parent: Some(parent_no), item }));
                }
                elements.is_over()
            }
            _ => false,
        };
        self.outbox.stages.insert((id, parent_no));
        self.tell_ended(id, &stage, how, now);
        if is_over {
            todo.push(Next::End(parent_no));
        }
    }

    fn enter_phase(&mut self, id: RunId, phase: Phase, now: DateTime<Utc>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.phase() != Some(phase) {
            run.enter_phase(phase, now);
            self.outbox.runs.insert(id);
            self.notice_state(id);
        }
    }

    /// The run is worked on; true where it was not before, which the caller tells.
    pub(super) fn note_working(&mut self, id: RunId, now: DateTime<Utc>) -> bool {
        self.forget_begin_by(id);
        let accepted = self.runs.get_mut(&id).filter(|run| run.state() == RunState::Accepted);
        let Some(run) = accepted else { return false };
        run.enter(RunState::Running, now);
        self.running += 1;
        self.outbox.runs.insert(id);
        self.tell_running(id, now);
        true
    }

    pub(super) fn notice_state(&mut self, id: RunId) {
        if let Some(run) = self.runs.get(&id) {
            self.outbox.changes.notices.push(Notice::State {
                run: id,
                owner: run.owner(),
                state: run.state(),
                phase: run.phase(),
                cause: run.cause().cloned(),
            });
        }
    }
}

fn window(at_once: Option<NonZeroU32>) -> u32 {
    at_once.map_or(AT_ONCE_MAX, NonZeroU32::get).min(AT_ONCE_MAX)
}
