//! The tasks of a run, and the chunk tables that they come from.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::Run;
use crate::data::chunk_table::ChunkTable;
use crate::ids::NodeId;
use crate::market::stage::Stage;
use crate::market::tasks::Tasks;
use crate::market::tasks::active::{Active, Tries, UnderLease};
use crate::market::tasks::task_stage::TaskStage;
use crate::plan::{BlockId, Body, Reads};
use crate::run::task::{Lease, StageNo, TaskRef};

impl Run {
    /// A stage of tasks, with what decides about them.
    pub(in crate::market) fn tasks(&self, no: StageNo) -> Option<TaskStage<'_>> {
        TaskStage::new(self, self.stages.get(&no)?)
    }

    pub(in crate::market) fn tasks_mut(&mut self, no: StageNo) -> Option<&mut Tasks> {
        self.stages.get_mut(&no)?.tasks_mut()
    }

    pub(in crate::market) fn task_stages(&self) -> impl Iterator<Item = TaskStage<'_>> {
        self.stages.values().filter_map(|stage| TaskStage::new(self, stage))
    }

    /// What a data block has found or cut.
    pub fn table(&self, block: BlockId) -> Option<&Arc<ChunkTable>> {
        self.tables.get(&block)
    }

    pub(in crate::market) fn put_table(&mut self, block: BlockId, table: Arc<ChunkTable>) {
        self.tables.insert(block, table);
    }

    /// The chunks that the tasks of a block work on.
    pub(in crate::market) fn chunks_of(&self, block: BlockId) -> Option<&Arc<ChunkTable>> {
        self.tables.get(&self.spec.plan.chunks_of(block)?)
    }

    /// How many tasks a block has or had, that is opened once.
    pub fn tasks_of(&self, block: BlockId) -> u32 {
        let chunks = self.chunks_of(block).map(|table| table.len());
        let known = chunks.or_else(|| self.length(block)).unwrap_or(0);
        self.spec.plan.elements(block, known).1
    }

    /// How many tasks a stage must have.
    pub(in crate::market) fn tasks_in(&self, stage: &Stage) -> u32 {
        match stage.items() {
            Some(items) => self.spec.plan.elements(stage.block, items).1,
            None => self.tasks_of(stage.block),
        }
    }

    /// Tasks of a block, of which this many were handed out and are done.
    pub(in crate::market) fn make_tasks(
        &self,
        block: BlockId,
        [len, next, done]: [u32; 3],
    ) -> Option<Tasks> {
        let plan = &self.spec.plan;
        let at_once = match &plan.block(block).body {
            Body::Each(each) if !plan.is_collapsed(each) => return None,
            Body::Each(each) => each.at_once,
            Body::Group(_)
            | Body::Child(_)
            | Body::Container(_)
            | Body::Data(_)
            | Body::Call(_) => None,
        };
        let work = plan.container_task(block)?;
        let table = self.chunks_of(block);
        let bytes = match work.reads {
            Reads::Element => table.map_or(0, |table| table.longest()),
            Reads::Objects(from) => self.tables.get(&from).map_or(0, |t| t.objects().bytes()),
            Reads::Nothing | Reads::Results(_) => 0,
        };
        let needs = work.container.needs.with_input(bytes);
        Some(Tasks::new(needs, table.map(Arc::clone), [len, next, done], at_once))
    }

    // --- States ---

    pub const fn running(&self) -> u32 {
        self.running
    }

    /// The tasks under lease that its turns were used for, its own or those of other runs.
    pub(in crate::market) const fn shared_tasks(&self) -> u32 {
        self.running + self.lent - self.borrowed
    }

    /// Whether a task is under lease, or checked.
    pub(in crate::market) fn is_worked_on(&self) -> bool {
        self.running > 0 || self.task_stages().any(|stage| !stage.tasks.checks.is_empty())
    }

    pub(in crate::market) fn hand_out(&mut self, no: StageNo, index: u32, active: Active) {
        let Some(tasks) = self.stages.get_mut(&no).and_then(|stage| stage.tasks_mut()) else {
            return;
        };
        self.purse.commit(active.bound);
        self.running += 1;
        *self.busy.entry(active.node).or_default() += 1;
        tasks.count_taken(active.operator, active.leased_at);
        tasks.active.insert(index, Box::new(active));
    }

    pub(in crate::market) fn take_back(&mut self, no: StageNo, index: u32) -> Option<Active> {
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
        Some(*active)
    }

    /// Takes everything that was handed out, is not held, and has no result.
    pub(in crate::market) fn take_waiting(&mut self) -> Vec<(TaskRef, Tries)> {
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
    pub(in crate::market) fn holders(&self) -> impl Iterator<Item = NodeId> {
        self.busy.keys().copied()
    }

    /// The task under this very lease.
    pub(in crate::market) fn active_lease(&self, lease: Lease) -> Option<&Active> {
        let tasks = self.stages.get(&lease.task.stage)?.tasks()?;
        let active = tasks.active.get(&lease.task.index).map(Box::as_ref);
        active.filter(|active| active.tries.attempt == lease.attempt)
    }

    pub(in crate::market) fn active_lease_mut(&mut self, lease: Lease) -> Option<&mut Active> {
        let tasks = self.stages.get_mut(&lease.task.stage)?.tasks_mut()?;
        let active = tasks.active.get_mut(&lease.task.index).map(Box::as_mut);
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
            progress: active.progress,
        })
        .collect()
    }
}
