//! A run in memory: what it was ordered to do, how far it is, and its credits.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::money::purse::Purse;
use super::outbox::{Owner, Progress, RunRecord};
use super::stage::{Cursor, Open, Stage, StageRecord};
use super::tasks::Tasks;
use super::tasks::active::{Active, Tries, UnderLease};
use super::tasks::task_stage::TaskStage;
use super::trust::checks::Compared;
use crate::data::chunk_table::ChunkTable;
use crate::ids::{NodeId, RunId, WorkspaceId};
use crate::money::credits::Credits;
use crate::plan::{BlockId, Body, Group, Phase, Reads};
use crate::run::spec::RunSpec;
use crate::run::task::{Lease, StageNo, TaskRef};
use crate::run::{RunState, Times};

/// One execution of a job. Waiting chunks are a number: only a task that has been handed out takes
/// memory.
#[derive(Debug)]
pub struct Run {
    pub id: RunId,
    pub spec: Arc<RunSpec>,
    state: RunState,
    phase: Option<Phase>,
    times: Times,
    /// The open ones.
    stages: BTreeMap<StageNo, Stage>,
    /// The number of the next stage that is no block's own.
    next_stage: StageNo,
    /// What data blocks have found or cut.
    tables: BTreeMap<BlockId, Arc<ChunkTable>>,
    counts: Counts,
    /// How many tasks nodes hold, in all and each.
    running: u32,
    busy: BTreeMap<NodeId, u32>,
    pub(super) purse: Purse,
    /// How each operator's results compared with those of others.
    pub(super) compared: BTreeMap<WorkspaceId, Compared>,
    /// The tasks that each operator was paid for since the server started, and for how much.
    pub(super) paid: BTreeMap<WorkspaceId, (u32, Credits)>,
    /// The last attempt that gave no result, until its task has one.
    trouble: Option<Trouble>,
    /// What its customer should know, though it goes on.
    pub(super) warning: Option<String>,
    error: Option<String>,
    /// When it is its turn in the queue.
    pub(super) turn: u64,
}

/// How many elements of lists there are, over all lists whose elements are tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// `None` until a list is known.
    pub total: Option<u32>,
    /// How many the lists have; a test run works on the first of them.
    pub found: Option<u32>,
    pub done: u32,
    /// Accepted tasks that gave no results.
    pub empty: u32,
}

/// What keeps a task from its result.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trouble {
    stage: StageNo,
    index: u32,
    text: Arc<str>,
}

impl Run {
    pub(super) fn new(id: RunId, spec: Arc<RunSpec>, now: DateTime<Utc>) -> Self {
        let is_later = spec.terms.start_at.is_some_and(|at| at > now);
        let state = if is_later { RunState::Scheduled } else { RunState::Accepted };
        let next_stage = spec.plan.first_free_stage();
        let mut run = Self::load(RunRecord {
            id,
            state,
            phase: None,
            times: Times::default(),
            next_stage,
            counts: Counts::default(),
            held: Credits::ZERO,
            captured: Credits::ZERO,
            usage: crate::compute::resources::Usage::default(),
            warning: None,
            error: None,
            spec,
        });
        run.enter(state, now);
        run
    }

    /// The run as it was stored; its tables and stages are given afterwards.
    pub fn load(record: RunRecord) -> Self {
        Self {
            id: record.id,
            spec: record.spec,
            state: record.state,
            phase: record.phase,
            times: record.times,
            stages: BTreeMap::new(),
            next_stage: record.next_stage,
            tables: BTreeMap::new(),
            counts: record.counts,
            running: 0,
            busy: BTreeMap::new(),
            purse: Purse::load(record.held, record.captured, record.usage),
            compared: BTreeMap::new(),
            paid: BTreeMap::new(),
            trouble: None,
            warning: record.warning,
            error: record.error,
            turn: 0,
        }
    }

    /// Gives a loaded run a table that one of its data blocks has made.
    #[must_use]
    pub fn with_table(mut self, block: BlockId, table: ChunkTable) -> Self {
        self.tables.insert(block, Arc::new(table));
        self
    }

    /// Gives a loaded run an open stage; its tables are there. A stage that contradicts the plan
    /// is left out, which `set_aside` finds.
    #[must_use]
    pub fn with_stage(mut self, record: &StageRecord) -> Self {
        if self.spec.plan.has(record.block)
            && let Some(open) = self.reopen(record)
        {
            let StageRecord { no, block, parent, item, opened_at, .. } = *record;
            self.stages.insert(no, Stage { no, block, parent, item, opened_at, open });
        }
        self
    }

    fn reopen(&self, record: &StageRecord) -> Option<Open> {
        Some(match &record.cursor {
            Cursor::Group(members) => Open::Group(members.clone()),
            Cursor::Each(elements) => Open::Each(*elements),
            Cursor::Tasks { len, next, done } => {
                Open::Tasks(Box::new(self.make_tasks(record.block, [*len, *next, *done])?))
            }
            Cursor::Step => Open::Step,
            Cursor::Child(run) => Open::Child(*run),
        })
    }

    pub const fn state(&self) -> RunState {
        self.state
    }

    pub const fn phase(&self) -> Option<Phase> {
        self.phase
    }

    pub const fn times(&self) -> &Times {
        &self.times
    }

    pub const fn captured(&self) -> Credits {
        self.purse.captured()
    }

    pub const fn held(&self) -> Credits {
        self.purse.held()
    }

    pub const fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn owner(&self) -> Owner {
        Owner { workspace: self.spec.workspace, job: self.spec.job }
    }

    /// When its work begins, where it has not.
    pub(super) fn begins_at(&self) -> Option<DateTime<Utc>> {
        let start_at = self.spec.terms.start_at.unwrap_or(DateTime::UNIX_EPOCH);
        (self.state == RunState::Scheduled).then_some(start_at)
    }

    // --- Stages ---

    pub fn stages(&self) -> impl Iterator<Item = &Stage> {
        self.stages.values()
    }

    pub fn stage(&self, no: StageNo) -> Option<&Stage> {
        self.stages.get(&no)
    }

    /// The phase that an open stage belongs to.
    pub(super) fn phase_of(&self, no: StageNo) -> Option<Phase> {
        self.spec.plan.block(self.stages.get(&no)?.block).phase
    }

    pub(super) fn stage_mut(&mut self, no: StageNo) -> Option<&mut Stage> {
        self.stages.get_mut(&no)
    }

    /// The number of the next stage of a block.
    pub(super) fn number_stage(&mut self, block: BlockId) -> StageNo {
        if !self.spec.plan.is_repeated(block) {
            return block.stage();
        }
        let no = self.next_stage;
        self.next_stage = no.next();
        no
    }

    /// Whether a block, which is opened once, has been.
    pub(super) fn has_begun(&self, block: BlockId) -> bool {
        let Some(parent) = self.spec.plan.parent(block) else { return !self.stages.is_empty() };
        if self.stages.contains_key(&block.stage()) {
            return true;
        }
        match (self.stages.get(&parent.stage()).map(|stage| &stage.open), self.group(parent)) {
            (Some(Open::Group(members)), Some(group)) => {
                let place = group.of.iter().position(|of| *of == block);
                place.is_some_and(|place| members.has_ended(place))
            }
            (Some(_), _) => false,
            // A block that has ended has had all that is in it.
            (None, _) => self.has_begun(parent),
        }
    }

    /// Whether a task can be handed out.
    pub(super) fn has_waiting(&self) -> bool {
        self.task_stages().any(|stage| stage.tasks.has_waiting())
    }

    /// Whether blocks with container work are still to be opened, beside those whose reservation
    /// is kept.
    pub(super) fn has_work_to_come(&self) -> bool {
        let plan = &self.spec.plan;
        let elements = self.stages.values().any(|stage| match &stage.open {
            Open::Each(elements) => elements.has_more(),
            Open::Group(_) | Open::Tasks(_) | Open::Step | Open::Child(_) => false,
        });
        elements || plan.unreserved().any(|block| !self.has_begun(plan.outermost(block)))
    }

    /// Whether the stages are there that an open stage waits for.
    pub(super) fn has_opened(&self, stage: &Stage) -> bool {
        let inside = |block: BlockId| {
            let is_inside = |other: &&Stage| other.parent == Some(stage.no) && other.block == block;
            self.stages.values().filter(is_inside).count()
        };
        match (&stage.open, &self.spec.plan.block(stage.block).body) {
            (Open::Group(members), Body::Group(group)) => (0..group.of.len())
                .all(|place| inside(group.of[place]) == usize::from(members.is_open(place))),
            (Open::Each(elements), Body::Each(each)) => {
                inside(each.body) == elements.open() as usize
            }
            (_, _) => true,
        }
    }

    pub(super) fn group(&self, block: BlockId) -> Option<&Group> {
        match &self.spec.plan.block(block).body {
            Body::Group(group) => Some(group),
            Body::Each(_) | Body::Child(_) | Body::Container(_) | Body::Data(_) => None,
        }
    }

    pub(super) fn open(&mut self, stage: Stage) {
        self.stages.insert(stage.no, stage);
    }

    pub(super) fn close(&mut self, no: StageNo) -> Option<Stage> {
        self.stages.remove(&no)
    }

    /// The runs that its stages wait for.
    pub(super) fn children(&self) -> impl Iterator<Item = RunId> {
        self.stages.values().filter_map(|stage| match stage.open {
            Open::Child(run) => Some(run),
            Open::Group(_) | Open::Each(_) | Open::Tasks(_) | Open::Step => None,
        })
    }

    /// A stage of tasks, with what decides about them.
    pub(super) fn tasks(&self, no: StageNo) -> Option<TaskStage<'_>> {
        TaskStage::new(self, self.stages.get(&no)?)
    }

    pub(super) fn tasks_mut(&mut self, no: StageNo) -> Option<&mut Tasks> {
        self.stages.get_mut(&no)?.tasks_mut()
    }

    pub(super) fn task_stages(&self) -> impl Iterator<Item = TaskStage<'_>> {
        self.stages.values().filter_map(|stage| TaskStage::new(self, stage))
    }

    /// What a data block has found or cut.
    pub fn table(&self, block: BlockId) -> Option<&Arc<ChunkTable>> {
        self.tables.get(&block)
    }

    pub(super) fn put_table(&mut self, block: BlockId, table: Arc<ChunkTable>) {
        self.tables.insert(block, table);
    }

    /// The chunks that the tasks of a block work on.
    pub(super) fn chunks_of(&self, block: BlockId) -> Option<&Arc<ChunkTable>> {
        self.tables.get(&self.spec.plan.chunks_of(block)?)
    }

    /// How many tasks a block has or had, that is opened once.
    pub fn tasks_of(&self, block: BlockId) -> u32 {
        let chunks = self.chunks_of(block).map_or(0, |table| table.len());
        self.spec.plan.elements(block, chunks).1
    }

    /// Tasks of a block, of which this many were handed out and are done.
    pub(super) fn make_tasks(&self, block: BlockId, [len, next, done]: [u32; 3]) -> Option<Tasks> {
        let work = self.spec.plan.container_task(block)?;
        let table = self.chunks_of(block);
        let bytes = match work.reads {
            Reads::Element => table.map_or(0, |table| table.longest()),
            Reads::Objects(from) => self.tables.get(&from).map_or(0, |t| t.objects().bytes()),
            Reads::Nothing | Reads::Results(_) => 0,
        };
        let needs = work.container.needs.with_input(bytes);
        Some(Tasks::new(needs, table.map(Arc::clone), [len, next, done]))
    }

    // --- States ---

    pub(super) fn enter(&mut self, state: RunState, now: DateTime<Utc>) {
        self.state = state;
        self.times.states.insert(state, now);
    }

    pub(super) fn enter_phase(&mut self, phase: Phase, now: DateTime<Utc>) {
        self.phase = Some(phase);
        self.times.phases.insert(phase, now);
    }

    pub(super) fn set_error(&mut self, reason: String) {
        self.error = Some(reason);
    }

    /// It goes on.
    pub(super) fn clear_error(&mut self) {
        self.error = None;
    }

    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// A list is known: its elements count.
    pub(super) fn count_list(&mut self, found: u32, total: u32) {
        let add = |known: Option<u32>, more| Some(known.unwrap_or(0).saturating_add(more));
        self.counts.found = add(self.counts.found, found);
        self.counts.total = add(self.counts.total, total);
    }

    /// A task of a list is done.
    pub(super) fn count_done(&mut self, has_results: bool) {
        self.counts.done = self.counts.done.saturating_add(1);
        self.counts.empty = self.counts.empty.saturating_add(u32::from(!has_results));
    }

    // --- Tasks under lease ---

    pub const fn running(&self) -> u32 {
        self.running
    }

    /// Whether a task is under lease, or checked.
    pub(super) fn is_worked_on(&self) -> bool {
        self.running > 0 || self.task_stages().any(|stage| !stage.tasks.checks.is_empty())
    }

    pub(super) fn hand_out(&mut self, no: StageNo, index: u32, active: Active) {
        let Some(tasks) = self.stages.get_mut(&no).and_then(Stage::tasks_mut) else { return };
        self.purse.commit(active.bound);
        self.running += 1;
        *self.busy.entry(active.node).or_default() += 1;
        tasks.count_taken(active.operator, active.leased_at);
        tasks.active.insert(index, active);
    }

    pub(super) fn take_back(&mut self, no: StageNo, index: u32) -> Option<Active> {
        let tasks = self.stages.get_mut(&no)?.tasks_mut()?;
        let active = tasks.active.remove(&index)?;
        tasks.uncount_taken(active.operator);
        self.purse.release(active.bound);
        self.running -= 1;
        if let Some(held) = self.busy.get_mut(&active.node) {
            *held -= 1;
            if *held == 0 {
                self.busy.remove(&active.node);
            }
        }
        Some(active)
    }

    /// Takes everything that was handed out, is not held, and has no result.
    pub(super) fn take_waiting(&mut self) -> Vec<(TaskRef, Tries)> {
        let mut taken = Vec::new();
        for (no, stage) in &mut self.stages {
            let Some(tasks) = stage.tasks_mut() else { continue };
            let waiting = tasks.take_waiting().into_iter();
            let task = |index| TaskRef { run: self.id, stage: *no, index };
            taken.extend(waiting.map(|(index, tries)| (task(index), tries)));
        }
        taken
    }

    /// The nodes that hold tasks.
    pub(super) fn holders(&self) -> impl Iterator<Item = NodeId> {
        self.busy.keys().copied()
    }

    /// The task under this very lease.
    pub(super) fn active_lease(&self, lease: Lease) -> Option<&Active> {
        let tasks = self.stages.get(&lease.task.stage)?.tasks()?;
        tasks.active.get(&lease.task.index).filter(|active| active.tries.attempt == lease.attempt)
    }

    pub(super) fn active_lease_mut(&mut self, lease: Lease) -> Option<&mut Active> {
        let tasks = self.stages.get_mut(&lease.task.stage)?.tasks_mut()?;
        let active = tasks.active.get_mut(&lease.task.index);
        active.filter(|active| active.tries.attempt == lease.attempt)
    }

    /// The tasks of a stage with these indexes that nodes hold.
    pub fn under_lease(&self, no: StageNo, tasks: RangeInclusive<u32>) -> Vec<UnderLease> {
        let Some(stage) = self.tasks(no) else { return Vec::new() };
        let held = stage.tasks.active.range(tasks);
        held.map(|(index, active)| UnderLease {
            lease: stage.lease(*index, active.tries.attempt),
            received_at: active.received_at,
            running_at: active.running_since,
        })
        .collect()
    }

    /// Notes why an attempt gave no result, for the customer to read while its task is tried again.
    pub(super) fn note_trouble(&mut self, no: StageNo, index: u32, reason: &str) {
        let Some(stage) = self.stages.get(&no) else { return };
        let what = self.spec.plan.task_name(stage.block, index);
        let text = format!("{what} is tried again: {reason}").into();
        self.trouble = Some(Trouble { stage: no, index, text });
    }

    /// The task has its result.
    pub(super) fn end_trouble(&mut self, no: StageNo, index: u32) {
        self.trouble.take_if(|trouble| trouble.stage == no && trouble.index == index);
    }

    // --- As others see it ---

    pub fn progress(&self) -> Progress {
        Progress {
            chunks: self.counts.total.unwrap_or(0),
            chunks_done: self.counts.done,
            tasks_running: self.running,
            nodes_busy: u32::try_from(self.busy.len()).unwrap_or(u32::MAX),
            spent: self.captured(),
            tasks_without_results: self.counts.empty,
            trouble: self.trouble.as_ref().map(|trouble| Arc::clone(&trouble.text)),
        }
    }

    pub(super) fn record(&self) -> RunRecord {
        RunRecord {
            id: self.id,
            spec: Arc::clone(&self.spec),
            state: self.state,
            phase: self.phase,
            times: self.times.clone(),
            next_stage: self.next_stage,
            counts: self.counts,
            held: self.purse.held(),
            captured: self.purse.captured(),
            usage: self.purse.usage(),
            warning: self.warning.clone(),
            error: self.error.clone(),
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let active = || {
            let tasks = self.stages.values().filter_map(Stage::tasks);
            tasks.flat_map(|tasks| tasks.active.values())
        };
        let committed =
            active().fold(Credits::ZERO, |sum, active| sum.saturating_add(active.bound));
        if committed != self.purse.committed() {
            return Err(format!("{:?} committed {:?}, counted {committed}", self.id, self.purse));
        }
        if committed > self.purse.held() {
            return Err(format!("{:?} may cost {committed}, has {:?}", self.id, self.purse));
        }
        let count = active().count();
        let busy: u32 = self.busy.values().sum();
        if (busy as usize, self.running as usize) != (count, count) {
            return Err(format!("{:?}: busy {:?}, active {count}", self.id, self.busy));
        }
        for stage in self.stages.values() {
            stage.check().map_err(|error| format!("{:?}, stage {}: {error}", self.id, stage.no))?;
        }
        Ok(())
    }
}
