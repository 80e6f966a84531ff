//! How a block is opened: at once, or when it is known what its expressions decide.

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};

use super::{Next, Opening, window};
use crate::ids::RunId;
use crate::market::Market;
use crate::market::run::Run;
use crate::market::stage::frozen::Resolution;
use crate::market::stage::members::{Elements, Members};
use crate::market::stage::{Open, Stage};
use crate::plan::{BlockId, Body, Child, Each, KnownEnd};
use crate::run::cause::{Cause, CauseKind};
use crate::run::scheduling::Terms;
use crate::run::spec::{Origin, Parent, RunScope, RunSpec};
use crate::run::task::{StageNo, TaskRef};

/// What a stage begins with.
struct Begun {
    open: Open,
    /// Blocks in it that are opened with it, and for which element.
    inner: Vec<(BlockId, Option<u32>)>,
    child: Option<(RunId, RunSpec)>,
    /// How its step ends, where that is known now.
    known_end: Option<KnownEnd>,
}

impl Begun {
    fn of(open: Open) -> Self {
        Self { open, inner: Vec::new(), child: None, known_end: None }
    }
}

impl Market {
    /// Gives a block a stage, and begins it where no expression must be evaluated before.
    pub(super) fn open_block(
        &mut self,
        id: RunId,
        opening: &Opening,
        todo: &mut Vec<Next>,
        now: DateTime<Utc>,
    ) {
        let Opening { block, parent, item } = *opening;
        let Some(run) = self.runs.get_mut(&id) else { return };
        let no = run.number_stage(block);
        if no > StageNo::MAX {
            let reason = format!("its plan opens more than {} blocks", StageNo::MAX);
            return self.fail(id, Cause::new(CauseKind::Plan, reason), now);
        }
        let (seen, resolved, frozen) = (run.values_seen(), None, OnceLock::new());
        let open = Open::Resolving;
        run.open(Stage { no, block, parent, item, opened_at: now, seen, resolved, frozen, open });
        self.outbox.stages.insert((id, no));
        self.outbox.runs.insert(id);
        if run.spec.plan.is_resolved(block) {
            self.outbox.changes.questions.push((id, no));
        } else {
            self.begin_stage(id, no, todo, now);
        }
    }

    /// Begins a stage of which everything is decided.
    pub(super) fn begin_stage(
        &mut self,
        id: RunId,
        no: StageNo,
        todo: &mut Vec<Next>,
        now: DateTime<Utc>,
    ) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let Some(stage) = run.stage(no) else { return };
        let (block, resolved) = (stage.block, stage.resolved.clone());
        let Some(begun) = begun(run, no, block, resolved.as_deref()) else { return };
        let Begun { open, inner, child, known_end } = begun;
        let is_detached = child.is_some() && !matches!(open, Open::Child(_));
        let is_over = is_detached
            || match &open {
                Open::Group(members) => members.is_over(),
                Open::Each(elements) => elements.is_over(),
                Open::Tasks(tasks) => tasks.is_over(),
                Open::Step | Open::Child(_) | Open::Call(_) | Open::Resolving | Open::Output => {
                    false
                }
            };
        let is_call = matches!(open, Open::Call(_));
        // A task is worked on from its first lease on.
        let is_around = !is_call && !matches!(open, Open::Tasks(_));
        let is_step = matches!(open, Open::Step) && !is_detached;
        let phase = run.spec.plan.block(block).phase;
        if let Some(stage) = run.stage_mut(no) {
            stage.open = open;
        }
        self.outbox.stages.insert((id, no));
        // A list that is known now counts in its run.
        self.outbox.runs.insert(id);
        self.enqueue(id, no);
        if is_step && known_end.is_none() {
            self.outbox.changes.steps.push((id, no));
        }
        if is_call {
            self.queue_call(TaskRef { run: id, stage: no, index: 0 });
        }
        let has_begun = (is_step || child.is_some()) && self.note_working(id, now);
        match phase {
            Some(phase) => self.enter_phase(id, phase, now),
            None if has_begun => self.notice_state(id),
            None => {}
        }
        if is_around && !is_over {
            self.tell_begun(id, no, now);
        }
        // The list is worked off from its end: the first is opened first.
        let inside = |(block, item)| Next::Open(Opening { block, parent: Some(no), item });
        todo.extend(inner.into_iter().rev().map(inside));
        if let Some(KnownEnd { table, phase }) = known_end {
            phase.into_iter().for_each(|phase| self.enter_phase(id, phase, now));
            table.into_iter().for_each(|table| self.put_table(id, block, table));
            todo.push(Next::End(no));
        }
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
}

/// What a stage of a block begins with.
fn begun(
    run: &mut Run,
    no: StageNo,
    block: BlockId,
    resolved: Option<&Resolution>,
) -> Option<Begun> {
    let spec = Arc::clone(&run.spec);
    Some(match &spec.plan.block(block).body {
        Body::Group(group) => {
            let members = Members::new(&group.after);
            let inner = members.first().map(|place| (group.of[place], None)).collect();
            Begun { inner, ..Begun::of(Open::Group(members)) }
        }
        Body::Each(each) => open_list(run, no, block, each),
        Body::Container(_) => Begun::of(Open::Tasks(Box::new(run.make_tasks(block, [1, 0, 0])?))),
        Body::Data(task) => Begun { known_end: task.known_end(), ..Begun::of(Open::Step) },
        Body::Call(_) => Begun::of(Open::Call(Box::default())),
        Body::Child(part) => {
            let child = run.id.of_child(no.number());
            let parent = Parent { run: run.id, stage: no };
            // The stage of one that is detached has nothing in it, and ends at once.
            let open = if part.detached { Open::Step } else { Open::Child(child) };
            let spec = child_spec(&spec, part, parent, resolved);
            Begun { child: Some((child, spec)), ..Begun::of(open) }
        }
    })
}

/// Opens a list: as tasks, where its elements are single ones, or with its first elements.
fn open_list(run: &mut Run, no: StageNo, block: BlockId, each: &Each) -> Begun {
    let items = run.stage(no).and_then(Stage::items);
    let chunks = run.chunks_of(block).map(|table| table.len());
    let known = items.or(chunks).unwrap_or(0);
    let (found, len) = run.spec.plan.elements(block, known);
    run.count_list(found, len);
    if let Some(tasks) = run.make_tasks(block, [len, 0, 0]) {
        return Begun::of(Open::Tasks(Box::new(tasks)));
    }
    let (mut elements, mut inner) = (Elements::new(len), Vec::new());
    while let Some(n) = elements.open_next(window(each.at_once)) {
        inner.push((each.body, Some(n)));
    }
    Begun { inner, ..Begun::of(Open::Each(elements)) }
}

/// A part of a run is a run of the same job, which begins at once.
fn child_spec(
    spec: &RunSpec,
    part: &Child,
    parent: Parent,
    resolved: Option<&Resolution>,
) -> RunSpec {
    RunSpec {
        name: part.name.clone().unwrap_or_else(|| spec.name.clone()),
        plan: part.plan.clone(),
        scope: RunScope {
            inputs: resolved.map(|resolved| resolved.inputs.clone()).unwrap_or_default(),
            secrets: spec.scope.secrets.clone(),
            ..RunScope::default()
        },
        timeout_secs: None,
        terms: Terms { start_at: None, ..spec.terms.clone() },
        origin: if part.detached { Origin::Detached(Some(parent)) } else { Origin::Part(parent) },
        callbacks: Vec::new(),
        ..spec.clone()
    }
}
