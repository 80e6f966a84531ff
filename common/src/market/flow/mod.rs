//! How a run follows its plan: which blocks are opened, and what the end of one leads to.
//!
//! One list of what comes next is worked off, so that no depth of a plan is a depth of calls.

pub(super) mod again;
pub(super) mod cancel;
pub(super) mod life;
pub(super) mod set_aside;

use std::num::NonZeroU32;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Market;
use super::outbox::Notice;
use super::run::Run;
use super::stage::{Elements, Members, Open, Stage, StageEnd};
use crate::data::chunk_table::ChunkTable;
use crate::ids::RunId;
use crate::plan::{BlockId, Body, DataTask, Each, Phase, Plan};
use crate::run::RunState;
use crate::run::cause::{Cause, CauseKind};
use crate::run::scheduling::Terms;
use crate::run::spec::{Origin, Parent, RunSpec};
use crate::run::task::{StageNo, TaskRef};

/// Elements with stages of their own that are open at a time in one list.
const AT_ONCE_MAX: u32 = 256;

/// What has to be done next of a run.
enum Next {
    Open(Opening),
    /// Everything in the stage has ended.
    End(StageNo),
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
            let table = Arc::new(table);
            run.put_table(block, Arc::clone(&table));
            self.outbox.changes.tables.push((id, block, table));
        }
        self.follow(id, Next::End(no), now);
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

    /// A run has ended that a stage of another one waits for.
    pub(super) fn child_ended(&mut self, parent: Parent, error: Option<&str>, now: DateTime<Utc>) {
        match error {
            None => self.follow(parent.run, Next::End(parent.stage), now),
            Some(error) => {
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
                Next::End(no) => self.end_stage(id, no, &mut todo, now),
            }
        }
        self.note_runnable(id);
    }

    fn open_block(
        &mut self,
        id: RunId,
        opening: &Opening,
        todo: &mut Vec<Next>,
        now: DateTime<Utc>,
    ) {
        let Opening { block, parent, item } = *opening;
        let Some(run) = self.runs.get_mut(&id) else { return };
        let spec = Arc::clone(&run.spec);
        let no = run.number_stage(block);
        if no > StageNo::MAX {
            let reason = format!("its plan opens more than {} blocks", StageNo::MAX);
            return self.fail(id, Cause::new(CauseKind::Plan, reason), now);
        }
        let plan_block = spec.plan.block(block);
        let mut child = None;
        let (open, inner) = match &plan_block.body {
            Body::Group(group) => {
                let members = Members::new(&group.after);
                let first = members.first().map(|place| (group.of[place], None)).collect();
                (Open::Group(members), first)
            }
            Body::Each(each) => open_list(run, block, each),
            Body::Container(_) => match run.make_tasks(block, [1, 0, 0]) {
                Some(tasks) => (Open::Tasks(Box::new(tasks)), Vec::new()),
                None => return,
            },
            Body::Data(_) => {
                self.outbox.changes.steps.push((id, no));
                (Open::Step, Vec::new())
            }
            Body::Call(_) => (Open::Call(Box::default()), Vec::new()),
            Body::Child(plan) => {
                let run = id.of_child(no.number());
                child = Some((run, child_spec(&spec, plan, Parent { run: id, stage: no })));
                (Open::Child(run), Vec::new())
            }
        };
        let is_step = matches!(open, Open::Step);
        let is_over = match &open {
            Open::Group(members) => members.is_over(),
            Open::Each(elements) => elements.is_over(),
            Open::Tasks(tasks) => tasks.is_over(),
            Open::Step | Open::Child(_) | Open::Call(_) => false,
        };
        let is_call = matches!(open, Open::Call(_));
        run.open(Stage { no, block, parent, item, opened_at: now, open });
        self.outbox.stages.insert((id, no));
        self.outbox.runs.insert(id);
        self.enqueue(id, no);
        if is_call {
            self.queue_call(TaskRef { run: id, stage: no, index: 0 });
        }
        let has_begun = (is_step || child.is_some()) && self.note_working(id, now);
        match plan_block.phase {
            Some(phase) => self.enter_phase(id, phase, now),
            None if has_begun => self.notice_state(id),
            None => {}
        }
        // The list is worked off from its end: the first is opened first.
        let inside = |(block, item)| Next::Open(Opening { block, parent: Some(no), item });
        todo.extend(inner.into_iter().rev().map(inside));
        if is_over {
            todo.push(Next::End(no));
        }
        if let Some((child, spec)) = child
            && let Err(refused) = self.start_run(child, Arc::new(spec), now)
        {
            let message = format!("a part of it cannot start: {refused}");
            self.fail(id, Cause::new(CauseKind::Part, message), now);
        }
    }

    fn end_stage(&mut self, id: RunId, no: StageNo, todo: &mut Vec<Next>, now: DateTime<Utc>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let Some(stage) = run.close(no) else { return };
        if let Some(tasks) = stage.tasks()
            && let Some(line) = tasks.line
        {
            self.queue.leave(line, tasks.place);
        }
        let ended = StageEnd { at: now, is_done: true };
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

/// Opens a list: as tasks, where its elements are single ones, or with its first elements.
fn open_list(run: &mut Run, block: BlockId, each: &Each) -> (Open, Vec<(BlockId, Option<u32>)>) {
    let chunks = run.chunks_of(block).map_or(0, |table| table.len());
    let (found, len) = run.spec.plan.elements(block, chunks);
    run.count_list(found, len);
    if let Some(tasks) = run.make_tasks(block, [len, 0, 0]) {
        return (Open::Tasks(Box::new(tasks)), Vec::new());
    }
    let (mut elements, mut first) = (Elements::new(len), Vec::new());
    while let Some(n) = elements.open_next(window(each.at_once)) {
        first.push((each.body, Some(n)));
    }
    (Open::Each(elements), first)
}

fn window(at_once: Option<NonZeroU32>) -> u32 {
    at_once.map_or(AT_ONCE_MAX, NonZeroU32::get).min(AT_ONCE_MAX)
}

/// A part of a run is a run of the same job, which begins at once.
fn child_spec(spec: &RunSpec, plan: &Plan, parent: Parent) -> RunSpec {
    RunSpec {
        plan: plan.clone(),
        timeout_secs: None,
        terms: Terms { start_at: None, ..spec.terms.clone() },
        origin: Origin::Part(parent),
        job: spec.job,
        workspace: spec.workspace,
        name: spec.name.clone(),
        template: spec.template.clone(),
    }
}
