//! A run's life: from its start over cutting, processing and folding to its end.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::active::Active;
use super::outbox::{LeaseChange, Notice, Step, TableKind, TaskRecord, TaskState};
use super::run::{Run, Single};
use super::{Market, Refused};
use crate::chunks::ChunkTable;
use crate::ids::RunId;
use crate::run::RunState;
use crate::spec::{Assemble, RunSpec};
use crate::task::{Lease, Stage};
use crate::terms::TEST_CHUNKS;

impl Market {
    /// Accepts a run and holds what its first task is reserved.
    pub fn start_run(
        &mut self,
        id: RunId,
        spec: Arc<RunSpec>,
        now: DateTime<Utc>,
    ) -> Result<(), Refused> {
        if self.runs.contains_key(&id) {
            return Err(Refused::AlreadyStarted);
        }
        let run = Run::new(id, spec, now);
        let first = run.first_hold(&self.policy);
        self.runs.insert(id, run);
        if let Err(refused) = self.hold(id, first, now) {
            self.runs.remove(&id);
            return Err(refused);
        }
        self.outbox.new_runs.insert(id);
        self.outbox.runs.insert(id);
        self.notice_state(id, RunState::Started);
        match self.runs.get(&id).and_then(Run::begins_at) {
            Some(at) => {
                self.scheduled.insert((at, id));
            }
            None => {
                self.outbox.steps.push((id, Step::Cut));
                self.notice_state(id, RunState::Fetching);
            }
        }
        Ok(())
    }

    /// Begins the runs whose time has come.
    fn begin_due(&mut self, now: DateTime<Utc>) {
        while let Some((at, id)) = self.scheduled.first().copied()
            && at <= now
        {
            self.scheduled.pop_first();
            self.enter(id, RunState::Fetching, now);
            self.outbox.steps.push((id, Step::Cut));
        }
    }

    /// The source has been looked at. A custom partitioner gets its objects; with a built-in one
    /// `objects` is `None` and the chunks follow.
    pub fn looked(&mut self, id: RunId, objects: Option<ChunkTable>, now: DateTime<Utc>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.state() != RunState::Fetching {
            return;
        }
        if let Some(table) = objects {
            let table = Arc::new(table);
            run.source = Some(Arc::clone(&table));
            self.outbox.tables.push((id, TableKind::Source, table));
        }
        self.enter(id, RunState::Partitioning, now);
    }

    /// The chunks are known: nodes may begin. The hold grows as tasks are handed out.
    pub fn partitioned(&mut self, id: RunId, table: ChunkTable, now: DateTime<Utc>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.state() != RunState::Partitioning {
            return;
        }
        if table.is_empty() {
            self.fail(id, "the partitioner produced no chunks".to_owned(), now);
            return;
        }
        run.found = Some(table.len());
        let table = if run.spec.terms.is_test { table.head(TEST_CHUNKS) } else { table };
        let table = Arc::new(table);
        run.chunks = Some(Arc::clone(&table));
        run.single = Single::Fresh;
        run.taken.clear();
        self.outbox.tables.push((id, TableKind::Chunks, Arc::clone(&table)));
        self.enter(id, RunState::Processing, now);
    }

    /// The results have been folded; delivery begins.
    pub fn folded(&mut self, id: RunId, now: DateTime<Utc>) {
        let state = self.runs.get(&id).map(Run::state);
        if state == Some(RunState::Assembling) {
            self.enter(id, RunState::Assembled, now);
        }
        if matches!(state, Some(RunState::Assembling | RunState::Assembled)) {
            self.enter(id, RunState::Delivering, now);
        }
    }

    /// The output is where it should be: the run is settled and ends.
    pub fn delivered(&mut self, id: RunId, now: DateTime<Utc>) {
        if self.runs.get(&id).map(Run::state) == Some(RunState::Delivering) {
            self.end(id, RunState::Complete, now);
        }
    }

    /// Ends a run because its customer wants it. Nodes are paid for the time that its tasks ran.
    pub fn abort(&mut self, id: RunId, reason: String, now: DateTime<Utc>) -> Result<(), Refused> {
        if !self.runs.contains_key(&id) {
            return Err(Refused::NoRun);
        }
        let ended = self.cut_off(id, now);
        self.end_early(id, RunState::Aborted, reason, ended, now);
        Ok(())
    }

    /// Ends a run that cannot go on, with a reason for its customer. Nodes are paid for the time
    /// that its tasks ran.
    pub fn break_off(
        &mut self,
        id: RunId,
        reason: String,
        now: DateTime<Utc>,
    ) -> Result<(), Refused> {
        if !self.runs.contains_key(&id) {
            return Err(Refused::NoRun);
        }
        self.fail(id, reason, now);
        Ok(())
    }

    /// Begins runs that are due, ends those that are past their limits, offers the tasks of silent
    /// nodes to others, and keeps holds as large as running tasks need them. To be called about
    /// once a second.
    pub fn tick(&mut self, now: DateTime<Utc>) {
        self.begin_due(now);
        self.end_pauses(now);
        self.offer_silent(now);
        self.follow_probes(now);
        let ids: Vec<RunId> = self.runs.keys().copied().collect();
        for id in ids {
            if self.runs.get(&id).is_some_and(|run| past_job_timeout(run, now)) {
                self.fail(id, "the job timeout has passed".to_owned(), now);
                continue;
            }
            self.lose_overdue(id, now);
            self.end_late_checks(id, now);
            self.meter(id, now);
            self.trim(id, now);
        }
    }

    /// Goes on to the next stage when the present one has nothing left to do.
    pub(super) fn advance(&mut self, id: RunId, now: DateTime<Utc>) {
        let Some(run) = self.runs.get(&id) else { return };
        match run.state() {
            RunState::Partitioning if run.single == Single::Done => {
                self.outbox.steps.push((id, Step::Collect));
            }
            RunState::Processing if run.is_processed() && run.checks.is_empty() => {
                let custom = matches!(run.spec.assemble, Assemble::Custom(_));
                self.enter(id, RunState::Processed, now);
                self.enter(id, RunState::Assembling, now);
                if !custom {
                    self.outbox.steps.push((id, Step::Fold));
                }
            }
            RunState::Assembling if run.single == Single::Done => {
                self.enter(id, RunState::Assembled, now);
                self.outbox.steps.push((id, Step::Fold));
            }
            RunState::Started
            | RunState::Fetching
            | RunState::Partitioning
            | RunState::Processing
            | RunState::Processed
            | RunState::Assembling
            | RunState::Assembled
            | RunState::Delivering
            | RunState::Complete
            | RunState::Failed
            | RunState::Aborted => {}
        }
    }

    /// Ends a run for a reason that is its customer's: what still runs is paid for.
    pub(super) fn fail(&mut self, id: RunId, reason: String, now: DateTime<Utc>) {
        let ended = self.cut_off(id, now);
        self.end_early(id, RunState::Failed, reason, ended, now);
    }

    /// Ends a run for a reason that is not its customer's: what still runs is not paid for.
    pub(super) fn give_up(&mut self, id: RunId, reason: String, now: DateTime<Utc>) {
        self.end_early(id, RunState::Failed, reason, Vec::new(), now);
    }

    fn end_early(
        &mut self,
        id: RunId,
        state: RunState,
        reason: String,
        ended: Vec<TaskRecord>,
        now: DateTime<Utc>,
    ) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.error = Some(reason);
            self.end_tasks(id, ended, now);
            self.end(id, state, now);
        }
    }

    fn end(&mut self, id: RunId, state: RunState, now: DateTime<Utc>) {
        let begins_at = self.runs.get(&id).and_then(Run::begins_at);
        self.settle(id, now);
        self.enter(id, state, now);
        self.outbox.runs.remove(&id);
        if let Some(run) = self.runs.remove(&id) {
            self.dry.remove(&(run.spec.workspace, id));
            if let Some(place) = run.place {
                self.queue.remove(place);
            }
            if let Some(at) = begins_at {
                self.scheduled.remove(&(at, id));
            }
            self.outbox.ended.push(run.record());
        }
    }

    /// Takes a run's tasks from their nodes, and pays for the time that they ran.
    fn cut_off(&mut self, id: RunId, now: DateTime<Utc>) -> Vec<TaskRecord> {
        let Some(run) = self.runs.get(&id) else { return Vec::new() };
        let indexes: Vec<u32> = run.active.keys().copied().collect();
        let mut ended = Vec::with_capacity(indexes.len());
        for index in indexes {
            let Some((lease, active)) = self.release(id, index) else { continue };
            let Some(run) = self.runs.get(&id).filter(|_| !active.is_check) else { continue };
            let bill = self.bill_cut_off(run, &active, now);
            let price = self.charge(lease, &active, bill, now);
            ended.push(TaskRecord { price, ..active.record(lease, TaskState::Failed) });
        }
        ended
    }

    /// Ends what a run has handed out and not got back, beside what was cut off.
    fn end_tasks(&mut self, id: RunId, mut ended: Vec<TaskRecord>, now: DateTime<Utc>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let mut waiting = std::mem::take(&mut run.waiting);
        let pausing = std::mem::take(&mut run.pausing);
        waiting.extend(pausing.into_iter().map(|(index, (_, tries))| (index, tries)));
        ended.extend(waiting.into_iter().map(|(index, tries)| {
            let lease = run.lease(index, tries.attempt);
            let node = tries.failed_on.last().copied();
            TaskRecord { node, ..tries.record(lease, TaskState::Failed) }
        }));
        let active: Vec<u32> = run.active.keys().copied().collect();
        for index in active {
            if let Some((lease, active)) = self.release(id, index)
                && !active.is_check
            {
                ended.push(active.record(lease, TaskState::Failed));
            }
        }
        for task in ended {
            let error = Some("the run ended before this task".to_owned());
            self.put_task(TaskRecord { ended_at: Some(now), error, ..task });
        }
    }

    /// Takes a task from its node. What becomes of the task is up to the caller.
    pub(super) fn release(&mut self, id: RunId, index: u32) -> Option<(Lease, Active)> {
        let run = self.runs.get_mut(&id)?;
        let needs = run.needs();
        let active = run.take_back(index)?;
        self.dry.remove(&(run.spec.workspace, id));
        let lease = run.lease(index, active.tries.attempt);
        if let Some(node) = self.nodes.get_mut(&active.node) {
            node.leased.remove(&lease);
            node.used = node.used.minus(needs);
            if let Some(gpu) = &active.gpu {
                node.gpus.give_back(gpu);
            }
            self.open.insert(active.node);
        }
        self.outbox.leases.push(LeaseChange::Ended { node: active.node, lease });
        self.note_runnable(id);
        Some((lease, active))
    }

    pub(super) fn enter(&mut self, id: RunId, state: RunState, now: DateTime<Utc>) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.enter(state, now);
            self.outbox.runs.insert(id);
            self.note_runnable(id);
            self.notice_state(id, state);
        }
    }

    fn notice_state(&mut self, id: RunId, state: RunState) {
        if let Some(run) = self.runs.get(&id) {
            self.outbox.notices.push(Notice::State {
                run: id,
                owner: run.owner(),
                state,
                error: run.error.clone(),
            });
        }
    }

    /// Stores a task as it stands, and tells whoever watches.
    pub(super) fn put_task(&mut self, task: TaskRecord) {
        if let Some(run) = self.runs.get(&task.task.run) {
            self.outbox.notices.push(Notice::Task {
                task: task.task,
                owner: run.owner(),
                attempt: task.attempt,
                state: task.state,
            });
        }
        self.outbox.tasks.insert(task.task, task);
    }
}

fn past_job_timeout(run: &Run, now: DateTime<Utc>) -> bool {
    let Some(secs) = run.spec.limits.job_timeout_secs else { return false };
    run.clock_started().is_some_and(|began| now - began > TimeDelta::seconds(secs.into()))
}

impl Run {
    /// The stage whose single task is a custom container's, as a lease names it.
    pub(super) fn is_single(stage: Stage) -> bool {
        matches!(stage, Stage::Partition | Stage::Assemble)
    }
}
