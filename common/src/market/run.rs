//! A run in memory: how far it is, what is handed out, what it holds.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::active::{Active, Tries, UnderLease};
use super::checks::{Check, Compared};
use super::outbox::{Owner, Progress, RunRecord, Step};
use super::queue::Place;
use super::trust::Taken;
use crate::chunks::ChunkTable;
use crate::credits::Credits;
use crate::ids::{NodeId, RunId, WorkspaceId};
use crate::resources::Usage;
use crate::run::RunState;
use crate::spec::{Assemble, Container, Partition, RunSpec};
use crate::task::{Lease, Stage, TaskRef};

/// One execution of a job. Waiting chunks are a number: only a task that has been handed out takes
/// memory.
#[derive(Debug)]
pub struct Run {
    pub id: RunId,
    pub spec: Arc<RunSpec>,
    pub(super) state: RunState,
    pub(super) times: BTreeMap<RunState, DateTime<Utc>>,
    /// The source's objects, for a custom partitioner.
    pub(super) source: Option<Arc<ChunkTable>>,
    /// The chunks, once they are known.
    pub(super) chunks: Option<Arc<ChunkTable>>,
    /// How many chunks the source has; a test run works on the first of them.
    pub(super) found: Option<u32>,
    /// The first chunk that was never handed out.
    pub(super) next: u32,
    pub(super) chunks_done: u32,
    /// How the one task of a custom partitioner or assembler stands.
    pub(super) single: Single,
    pub(super) active: BTreeMap<u32, Active>,
    /// How many of them each node holds.
    busy: BTreeMap<NodeId, u32>,
    /// Tasks that were handed out and must be handed out again.
    pub(super) waiting: BTreeMap<u32, Tries>,
    /// The same, but not before a time.
    pub(super) pausing: BTreeMap<u32, (DateTime<Utc>, Tries)>,
    /// The last attempt that gave no result, until its task has one.
    pub(super) trouble: Option<Trouble>,
    /// What is still reserved of the customer's credits.
    pub(super) held: Credits,
    /// The part of it that running tasks may need.
    pub(super) committed: Credits,
    pub(super) captured: Credits,
    pub(super) usage: Usage,
    /// Accepted process tasks that gave no results.
    pub(super) empty: u32,
    /// What each operator has taken since the stage began, or the server started.
    pub(super) taken: BTreeMap<WorkspaceId, Taken>,
    /// Done tasks whose results are being checked.
    pub(super) checks: BTreeMap<u32, Check>,
    /// How each operator's results compared with those of others.
    pub(super) compared: BTreeMap<WorkspaceId, Compared>,
    /// The tasks that each operator was paid for since the server started, and for how much.
    pub(super) paid: BTreeMap<WorkspaceId, (u32, Credits)>,
    /// What its customer should know, though it goes on.
    pub(super) warning: Option<String>,
    pub(super) error: Option<String>,
    /// Where the run stands in the queue, if it has a task to hand out.
    pub(super) place: Option<Place>,
    /// When it is its turn there.
    pub(super) turn: u64,
}

/// What keeps a task from its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    index: u32,
    text: Arc<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Single {
    Fresh,
    HandedOut,
    Done,
}

impl Run {
    pub(super) fn new(id: RunId, spec: Arc<RunSpec>, now: DateTime<Utc>) -> Self {
        let mut times = BTreeMap::from([(RunState::Started, now)]);
        let later = spec.terms.start_at.is_some_and(|at| at > now);
        if !later {
            times.insert(RunState::Fetching, now);
        }
        Self::load(RunRecord {
            id,
            state: if later { RunState::Started } else { RunState::Fetching },
            times,
            total: None,
            found: None,
            next: 0,
            chunks_done: 0,
            held: Credits::ZERO,
            captured: Credits::ZERO,
            usage: Usage::default(),
            empty: 0,
            warning: None,
            error: None,
            spec,
        })
    }

    /// The run as it was stored; its chunks are given afterwards.
    pub fn load(record: RunRecord) -> Self {
        Self {
            id: record.id,
            spec: record.spec,
            state: record.state,
            times: record.times,
            source: None,
            chunks: None,
            found: record.found,
            next: record.next,
            chunks_done: record.chunks_done,
            single: Single::Fresh,
            active: BTreeMap::new(),
            busy: BTreeMap::new(),
            waiting: BTreeMap::new(),
            pausing: BTreeMap::new(),
            trouble: None,
            held: record.held,
            committed: Credits::ZERO,
            captured: record.captured,
            usage: record.usage,
            empty: record.empty,
            taken: BTreeMap::new(),
            checks: BTreeMap::new(),
            compared: BTreeMap::new(),
            paid: BTreeMap::new(),
            warning: record.warning,
            error: record.error,
            place: None,
            turn: 0,
        }
    }

    /// Gives a loaded run the table of its source's objects.
    #[must_use]
    pub fn with_source(self, table: ChunkTable) -> Self {
        Self { source: Some(Arc::new(table)), ..self }
    }

    /// Gives a loaded run the table of its chunks.
    #[must_use]
    pub fn with_chunks(self, table: ChunkTable) -> Self {
        Self { chunks: Some(Arc::new(table)), ..self }
    }

    pub fn state(&self) -> RunState {
        self.state
    }

    pub(super) fn owner(&self) -> Owner {
        Owner { workspace: self.spec.workspace, job: self.spec.job }
    }

    pub fn captured(&self) -> Credits {
        self.captured
    }

    pub fn held(&self) -> Credits {
        self.held
    }

    pub fn chunks(&self) -> Option<&Arc<ChunkTable>> {
        self.chunks.as_ref()
    }

    pub fn source(&self) -> Option<&Arc<ChunkTable>> {
        self.source.as_ref()
    }

    /// When its work begins, where it has not.
    pub(super) fn begins_at(&self) -> Option<DateTime<Utc>> {
        let start_at = self.spec.terms.start_at.unwrap_or(DateTime::UNIX_EPOCH);
        (self.state == RunState::Started).then_some(start_at)
    }

    /// The stage whose tasks nodes work on now, if any.
    pub fn stage(&self) -> Option<Stage> {
        match self.state {
            RunState::Partitioning => {
                matches!(self.spec.partition, Partition::Custom(_)).then_some(Stage::Partition)
            }
            RunState::Processing => Some(Stage::Process),
            RunState::Assembling => {
                matches!(self.spec.assemble, Assemble::Custom(_)).then_some(Stage::Assemble)
            }
            RunState::Started
            | RunState::Fetching
            | RunState::Processed
            | RunState::Assembled
            | RunState::Delivering
            | RunState::Complete
            | RunState::Failed
            | RunState::Aborted => None,
        }
    }

    /// The step that the server itself must do now, if any. Begun again after a restart, so doing
    /// it twice must give the same.
    pub fn step(&self) -> Option<Step> {
        match (self.state, &self.spec.partition, &self.spec.assemble) {
            (RunState::Fetching, _, _) | (RunState::Partitioning, Partition::Builtin(_), _) => {
                Some(Step::Cut)
            }
            (RunState::Partitioning, Partition::Custom(_), _) => {
                (self.single == Single::Done).then_some(Step::Collect)
            }
            (RunState::Assembling, _, Assemble::Builtin(_))
            | (RunState::Processed | RunState::Assembled | RunState::Delivering, _, _) => {
                Some(Step::Fold)
            }
            (RunState::Assembling, _, Assemble::Custom(_)) => {
                (self.single == Single::Done).then_some(Step::Fold)
            }
            (
                RunState::Started
                | RunState::Processing
                | RunState::Complete
                | RunState::Failed
                | RunState::Aborted,
                _,
                _,
            ) => None,
        }
    }

    pub fn container(&self) -> Option<&Container> {
        self.stage().and_then(|stage| self.spec.container(stage))
    }

    pub(super) fn gpus(&self) -> &[String] {
        self.container().map_or(&[], |container| &container.gpus)
    }

    pub fn progress(&self) -> Progress {
        Progress {
            chunks: self.total(),
            chunks_done: self.chunks_done,
            tasks_running: u32::try_from(self.active.len()).unwrap_or(u32::MAX),
            nodes_busy: u32::try_from(self.busy.len()).unwrap_or(u32::MAX),
            spent: self.captured,
            tasks_without_results: self.empty,
            trouble: self.trouble.as_ref().map(|trouble| Arc::clone(&trouble.text)),
        }
    }

    /// The number of chunks; 0 until it is known.
    pub(super) fn total(&self) -> u32 {
        self.chunks.as_ref().map_or(0, |table| table.len())
    }

    pub(super) fn enter(&mut self, state: RunState, now: DateTime<Utc>) {
        self.state = state;
        self.times.insert(state, now);
    }

    /// A stored task of the present stage was done: only a custom partitioner's or assembler's
    /// can be without the run having moved on.
    pub(super) fn finish_single(&mut self) {
        if matches!(self.stage(), Some(Stage::Partition | Stage::Assemble)) {
            self.single = Single::Done;
        }
    }

    pub(super) fn hand_out(&mut self, index: u32, active: Active) {
        self.committed = self.committed.saturating_add(active.bound);
        *self.busy.entry(active.node).or_default() += 1;
        self.count_taken(active.operator, active.leased_at);
        self.active.insert(index, active);
    }

    pub(super) fn take_back(&mut self, index: u32) -> Option<Active> {
        let active = self.active.remove(&index)?;
        self.committed = self.committed.saturating_sub(active.bound);
        if let Some(taken) = self.taken.get_mut(&active.operator) {
            taken.tasks = taken.tasks.saturating_sub(1);
        }
        if let Some(held) = self.busy.get_mut(&active.node) {
            *held -= 1;
            if *held == 0 {
                self.busy.remove(&active.node);
            }
        }
        Some(active)
    }

    /// Notes why an attempt gave no result, for the customer to read while its task is tried again.
    pub(super) fn note_trouble(&mut self, index: u32, reason: &str) {
        let what = self.stage().map_or_else(String::new, |stage| stage.task_name(index));
        let text = format!("{what} is tried again: {reason}").into();
        self.trouble = Some(Trouble { index, text });
    }

    /// The task has its result.
    pub(super) fn end_trouble(&mut self, index: u32) {
        self.trouble.take_if(|trouble| trouble.index == index);
    }

    pub(super) fn lease(&self, index: u32, attempt: u32) -> Lease {
        let stage = self.stage().unwrap_or(Stage::Process);
        Lease { task: TaskRef { run: self.id, stage, index }, attempt }
    }

    /// The tasks of these indexes that nodes hold.
    pub fn under_lease(&self, tasks: RangeInclusive<u32>) -> Vec<UnderLease> {
        let held = self.active.range(tasks);
        held.map(|(index, active)| UnderLease {
            lease: self.lease(*index, active.tries.attempt),
            received_at: active.received_at,
            running_at: active.running_since,
        })
        .collect()
    }

    /// The task under this very lease.
    pub(super) fn active_lease(&self, lease: Lease) -> Option<&Active> {
        self.active
            .get(&lease.task.index)
            .filter(|active| active.tries.attempt == lease.attempt)
            .filter(|_| self.stage() == Some(lease.task.stage))
    }

    /// Counts a task that the operator has, or has done.
    pub(super) fn count_taken(&mut self, operator: WorkspaceId, at: DateTime<Utc>) {
        let taken = self.taken.entry(operator).or_insert(Taken { tasks: 0, last: at });
        *taken = Taken { tasks: taken.tasks.saturating_add(1), last: taken.last.max(at) };
    }

    pub(super) fn record(&self) -> RunRecord {
        RunRecord {
            id: self.id,
            spec: Arc::clone(&self.spec),
            state: self.state,
            times: self.times.clone(),
            total: self.chunks.as_ref().map(|table| table.len()),
            found: self.found,
            next: self.next,
            chunks_done: self.chunks_done,
            held: self.held,
            captured: self.captured,
            usage: self.usage,
            empty: self.empty,
            warning: self.warning.clone(),
            error: self.error.clone(),
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let committed = self
            .active
            .values()
            .fold(Credits::ZERO, |sum, active| sum.saturating_add(active.bound));
        if committed != self.committed {
            return Err(format!("{:?} committed {}, counted {committed}", self.id, self.committed));
        }
        if self.committed > self.held {
            return Err(format!("{:?} may cost {committed} and holds {}", self.id, self.held));
        }
        if self.busy.values().map(|held| *held as usize).sum::<usize>() != self.active.len() {
            return Err(format!("{:?}: busy {:?}, active {:?}", self.id, self.busy, self.active));
        }
        let checks = self.active.values().filter(|active| active.is_check).count();
        let out = self.active.len() - checks + self.waiting.len() + self.pausing.len();
        let known = self.next as usize;
        if self.stage() == Some(Stage::Process) && self.chunks_done as usize + out != known {
            return Err(format!(
                "{:?}: {} done and {out} handed out are not the {known} taken",
                self.id, self.chunks_done
            ));
        }
        Ok(())
    }
}
