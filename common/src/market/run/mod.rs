//! A run in memory: what it was ordered to do, how far it is, and its credits.

pub(super) mod runs;
mod stages;
mod tasks;
mod values;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};

use super::money::purse::Purse;
use super::outbox::{Owner, Progress, RunRecord};
use super::stage::values::Values;
use super::stage::{Cursor, Open, Stage, StageRecord};
use super::trust::checks::Compared;
use crate::data::chunk_table::ChunkTable;
use crate::ids::{NodeId, RunId, WorkspaceId};
use crate::money::credits::Credits;
use crate::plan::{BlockId, Phase};
use crate::run::cause::Cause;
use crate::run::spec::RunSpec;
use crate::run::task::StageNo;
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
    stages: BTreeMap<StageNo, Box<Stage>>,
    /// The number of the next stage that is no block's own.
    next_stage: StageNo,
    /// What data blocks have found or cut.
    tables: BTreeMap<BlockId, Arc<ChunkTable>>,
    /// How many elements the lists had that expressions gave, of blocks that are opened once.
    lengths: BTreeMap<BlockId, u32>,
    /// What its blocks have given, and what it gives itself.
    values: Values,
    output: Option<Arc<str>>,
    counts: Counts,
    /// How many tasks nodes hold, in all and each.
    running: u32,
    busy: BTreeMap<NodeId, u32>,
    pub(in crate::market) purse: Purse,
    /// How each operator's results compared with those of others.
    pub(in crate::market) compared: BTreeMap<WorkspaceId, Compared>,
    /// The tasks that each operator was paid for since the server started, and for how much.
    pub(in crate::market) paid: BTreeMap<WorkspaceId, (u32, Credits)>,
    /// The last attempt that gave no result, until its task has one.
    trouble: Option<Trouble>,
    /// What its customer should know, though it goes on.
    pub(in crate::market) warning: Option<String>,
    /// Why it ended, where it did not succeed, and the stage whose work has ended it.
    cause: Option<Cause>,
    failed_in: Option<StageNo>,
    /// When it is its turn in the queue.
    pub(in crate::market) turn: u64,
    /// Tasks of runs of more urgent queues that its turns were used for, and those of its own that
    /// others' turns were used for. A restart forgets them.
    pub(in crate::market) lent: u32,
    pub(in crate::market) borrowed: u32,
    /// How many of its tasks the queue counts as waiting.
    pub(in crate::market) counted_waiting: u64,
    /// How many of them stand in no named queue.
    pub(in crate::market) counted_outside: u64,
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
    pub(in crate::market) fn new(id: RunId, spec: Arc<RunSpec>, now: DateTime<Utc>) -> Self {
        let is_later = spec.terms.start_at.is_some_and(|at| at > now);
        let state = if is_later { RunState::Scheduled } else { RunState::Accepted };
        let next_stage = spec.plan.first_free_stage();
        let mut run = Self::load(RunRecord {
            id,
            state,
            phase: None,
            times: Times::default(),
            next_stage,
            next_value: 0,
            output: None,
            counts: Counts::default(),
            held: Credits::ZERO,
            captured: Credits::ZERO,
            billed: Credits::ZERO,
            usage: crate::compute::resources::Usage::default(),
            warning: None,
            cause: None,
            spec,
        });
        run.enter(state, now);
        run
    }

    /// The run as it was stored; its tables, its stages, and then what they have decided and given
    /// are given afterwards.
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
            lengths: BTreeMap::new(),
            values: Values::from(record.next_value),
            output: record.output,
            counts: record.counts,
            running: 0,
            busy: BTreeMap::new(),
            purse: Purse::load(record.held, record.captured, record.billed, record.usage),
            compared: BTreeMap::new(),
            paid: BTreeMap::new(),
            trouble: None,
            warning: record.warning,
            cause: record.cause,
            failed_in: None,
            turn: 0,
            lent: 0,
            borrowed: 0,
            counted_waiting: 0,
            counted_outside: 0,
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
            let StageRecord { no, block, parent, item, opened_at, seen, .. } = *record;
            let (resolved, frozen) = (None, OnceLock::new());
            let stage = Stage { no, block, parent, item, opened_at, seen, resolved, frozen, open };
            self.stages.insert(no, Box::new(stage));
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
            Cursor::Call => Open::Call(Box::default()),
            Cursor::Resolving => Open::Resolving,
            Cursor::Output => Open::Output,
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

    pub(in crate::market) fn owner(&self) -> Owner {
        Owner::of(&self.spec)
    }

    /// When its work begins, where it has not.
    pub(in crate::market) fn begins_at(&self) -> Option<DateTime<Utc>> {
        let start_at = self.spec.terms.start_at.unwrap_or(DateTime::UNIX_EPOCH);
        (self.state == RunState::Scheduled).then_some(start_at)
    }

    // --- Stages ---

    pub(in crate::market) fn enter(&mut self, state: RunState, now: DateTime<Utc>) {
        self.state = state;
        self.times.states.insert(state, now);
    }

    pub(in crate::market) fn enter_phase(&mut self, phase: Phase, now: DateTime<Utc>) {
        self.phase = Some(phase);
        self.times.phases.insert(phase, now);
    }

    pub(in crate::market) fn set_cause(&mut self, cause: Cause) {
        self.cause = Some(cause);
    }

    /// The work of a stage ends it.
    pub(in crate::market) fn note_failed_in(&mut self, no: StageNo) {
        self.failed_in = Some(no);
    }

    /// It goes on.
    pub(in crate::market) fn clear_cause(&mut self) {
        self.cause = None;
    }

    pub fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    /// A list is known: its elements count.
    pub(in crate::market) fn count_list(&mut self, found: u32, total: u32) {
        let add = |known: Option<u32>, more| Some(known.unwrap_or(0).saturating_add(more));
        self.counts.found = add(self.counts.found, found);
        self.counts.total = add(self.counts.total, total);
    }

    /// A task of a list is done.
    pub(in crate::market) fn count_done(&mut self, has_results: bool) {
        self.counts.done = self.counts.done.saturating_add(1);
        self.counts.empty = self.counts.empty.saturating_add(u32::from(!has_results));
    }

    // --- Tasks under lease ---

    /// Notes why an attempt gave no result, for the customer to read while its task is tried again.
    pub(in crate::market) fn note_trouble(&mut self, no: StageNo, index: u32, reason: &str) {
        let Some(stage) = self.stages.get(&no) else { return };
        let what = self.spec.plan.task_name(stage.block, index);
        let text = format!("{what} is tried again: {reason}").into();
        self.trouble = Some(Trouble { stage: no, index, text });
    }

    /// The task has its result.
    pub(in crate::market) fn end_trouble(&mut self, no: StageNo, index: u32) {
        self.trouble.take_if(|trouble| trouble.stage == no && trouble.index == index);
    }

    // --- As others see it ---

    pub fn progress(&self) -> Progress {
        Progress {
            chunks: self.counts.total.unwrap_or(0),
            chunks_done: self.counts.done,
            tasks_running: self.running + self.calls_running(),
            nodes_busy: u32::try_from(self.busy.len()).unwrap_or(u32::MAX),
            spent: self.captured(),
            tasks_without_results: self.counts.empty,
            trouble: self.trouble.as_ref().map(|trouble| Arc::clone(&trouble.text)),
        }
    }

    fn calls_running(&self) -> u32 {
        u32::try_from(self.calls_under_way().count()).unwrap_or(u32::MAX)
    }

    pub(in crate::market) fn record(&self) -> RunRecord {
        RunRecord {
            id: self.id,
            spec: Arc::clone(&self.spec),
            state: self.state,
            phase: self.phase,
            times: self.times.clone(),
            next_stage: self.next_stage,
            next_value: self.values.next(),
            output: self.output.clone(),
            counts: self.counts,
            held: self.purse.held(),
            captured: self.purse.captured(),
            billed: self.purse.billed(),
            usage: self.purse.usage(),
            warning: self.warning.clone(),
            cause: self.cause.clone(),
        }
    }

    pub(in crate::market) fn check(&self) -> Result<(), String> {
        let active = || {
            let tasks = self.stages().filter_map(Stage::tasks);
            tasks.flat_map(|tasks| tasks.active.values())
        };
        let prices = self.calls_under_way().map(|(_, work)| work.price);
        let bounds = active().map(|active| active.bound).chain(prices);
        let committed = bounds.fold(Credits::ZERO, Credits::saturating_add);
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
