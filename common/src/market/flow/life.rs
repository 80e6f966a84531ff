//! A run's life: its start, its end, and how its tasks leave their nodes.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::ids::RunId;
use crate::market::outbox::{Ended, LeaseChange, Notice, RUN_ENDED, TaskRecord, TaskState};
use crate::market::run::Run;
use crate::market::stage::{StageEnd, StageOutcome};
use crate::market::tasks::active::Active;
use crate::market::{Market, Refused};
use crate::run::RunState;
use crate::run::cause::{Cause, CauseKind};
use crate::run::spec::RunSpec;
use crate::run::task::{Lease, StageNo, TaskRef};

impl Market {
    /// Accepts a run and holds what its first task is reserved.
    pub fn start_run(
        &mut self,
        id: RunId,
        spec: Arc<RunSpec>,
        now: DateTime<Utc>,
    ) -> Result<(), Refused> {
        if self.runs.contains_key(&id) || self.stopping.contains_key(&id) {
            return Err(Refused::AlreadyStarted);
        }
        if !self.has_queue_of(&spec) {
            return Err(Refused::NoQueue);
        }
        let run = Run::new(id, spec, now);
        let first = self.first_hold(&run);
        self.runs.insert(run);
        if let Err(refused) = self.hold(id, first, now) {
            self.runs.remove(&id);
            return Err(refused);
        }
        self.note_job(id);
        self.enter_queue(id);
        self.outbox.changes.new_runs.insert(id);
        self.outbox.runs.insert(id);
        self.notice_state(id);
        match self.runs.get(&id).and_then(Run::begins_at) {
            Some(at) => {
                self.scheduled.insert((at, id));
            }
            None => self.set_off(id, now),
        }
        Ok(())
    }

    /// Stores a run that cannot be accepted as one that has failed, so that its job's history
    /// shows it.
    pub(in crate::market) fn start_failed(
        &mut self,
        id: RunId,
        spec: Arc<RunSpec>,
        cause: Cause,
        now: DateTime<Utc>,
    ) {
        self.runs.insert(Run::new(id, spec, now));
        self.enter_queue(id);
        self.outbox.changes.new_runs.insert(id);
        self.fail(id, cause, now);
    }

    /// Begins the runs whose time has come.
    pub(in crate::market) fn begin_due(&mut self, now: DateTime<Utc>) {
        while let Some((at, id)) = self.scheduled.first().copied()
            && at <= now
        {
            self.scheduled.pop_first();
            self.enter(id, RunState::Accepted, now);
            self.set_off(id, now);
        }
    }

    pub(in crate::market) fn set_off(&mut self, id: RunId, now: DateTime<Utc>) {
        self.note_deadline(id);
        self.note_begin_by(id);
        self.begin(id, now);
    }

    /// Notes when a run that has begun must have ended.
    pub(in crate::market) fn note_deadline(&mut self, id: RunId) {
        let at = self.runs.get(&id).and_then(Run::deadline);
        self.deadlines.extend(at.map(|at| (at, id)));
    }

    /// Ends the runs that are past their time.
    pub(in crate::market) fn end_past_deadline(&mut self, now: DateTime<Utc>) {
        while let Some((at, id)) = self.deadlines.first().copied()
            && at < now
        {
            self.deadlines.pop_first();
            self.fail(id, Cause::new(CauseKind::Timeout, "the job timeout has passed"), now);
        }
    }

    /// Ends a run that cannot go on, with a cause for its customer. Nodes are paid for the time
    /// that its tasks ran.
    pub fn break_off(
        &mut self,
        id: RunId,
        cause: Cause,
        now: DateTime<Utc>,
    ) -> Result<(), Refused> {
        if !self.runs.contains_key(&id) {
            return Err(Refused::NoRun);
        }
        self.fail(id, cause, now);
        Ok(())
    }

    /// Notes that the work of this stage is about to end its run.
    pub(in crate::market) fn note_failed_in(&mut self, id: RunId, no: StageNo) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.note_failed_in(no);
        }
    }

    /// Ends a run for a reason that is its customer's: what still runs is paid for.
    pub(in crate::market) fn fail(&mut self, id: RunId, cause: Cause, now: DateTime<Utc>) {
        let ended = self.cut_off(id, now);
        self.end_early(id, RunState::Failed, cause, ended, now);
    }

    /// Ends a run for a reason that is not its customer's: what still runs is not paid for.
    pub(in crate::market) fn give_up(&mut self, id: RunId, cause: Cause, now: DateTime<Utc>) {
        self.end_early(id, RunState::Failed, cause, Vec::new(), now);
    }

    /// All of a run's plan has been followed.
    pub(in crate::market) fn succeed(&mut self, id: RunId, now: DateTime<Utc>) {
        self.end(id, RunState::Succeeded, now);
    }

    pub(in crate::market) fn end_early(
        &mut self,
        id: RunId,
        state: RunState,
        cause: Cause,
        ended: Vec<TaskRecord>,
        now: DateTime<Utc>,
    ) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.set_cause(cause);
        let children: Vec<RunId> = run.children().collect();
        self.end_tasks(id, ended, now);
        self.end(id, state, now);
        for child in children {
            // What it did stays paid; one that has ended already is no longer there.
            let _ = self.cancel(child, "the run that it is a part of has ended".to_owned(), now);
        }
    }

    /// Settles a run, and takes it out of memory.
    fn end(&mut self, id: RunId, state: RunState, now: DateTime<Utc>) {
        // Both are other times once it has ended.
        let begins_at = self.runs.get(&id).and_then(Run::begins_at);
        let deadline = self.runs.get(&id).and_then(Run::deadline);
        self.settle(id, now);
        self.forget_begin_by(id);
        let was = self.runs.get(&id).map(Run::state);
        self.running -= usize::from(was == Some(RunState::Running));
        self.enter(id, state, now);
        self.tell_cut_off(id, now);
        self.outbox.runs.remove(&id);
        let Some(mut run) = self.runs.remove(&id) else { return };
        self.queue.count_tasks(&mut run, 0);
        self.queues.outside.count_waiting(&mut run, 0);
        self.leave_queue(&run);
        self.dry.remove(&(run.spec.workspace, id));
        self.working.remove(&id);
        for stage in run.stages() {
            if let Some(tasks) = stage.tasks()
                && let Some(line) = tasks.line
            {
                self.queue.leave(line, tasks.place);
            }
            let ended = StageEnd { at: now, how: StageOutcome::CutOff };
            self.outbox.changes.stages.push(stage.record(id, Some(ended)));
        }
        if let Some(at) = begins_at {
            self.scheduled.remove(&(at, id));
        }
        if let Some(at) = deadline {
            self.deadlines.remove(&(at, id));
        }
        self.outbox.changes.ended.push(Ended { run: id, state });
        let (record, parent) = (run.record(), run.spec.parent());
        if state == RunState::Ending {
            self.await_stop(record.clone(), now);
        } else {
            self.of_jobs.remove(&(record.spec.job, id));
        }
        let end = match record.error() {
            Some(error) => Err(error.to_owned()),
            None => Ok(record.output.clone()),
        };
        self.outbox.changes.runs.push(record.clone());
        self.tell_end(&record, now);
        if let Some(parent) = parent {
            self.child_ended(parent, id, end, now);
        }
    }

    /// Takes a run's tasks from their nodes, and pays for the time that they ran.
    pub(in crate::market) fn cut_off(&mut self, id: RunId, now: DateTime<Utc>) -> Vec<TaskRecord> {
        let mut ended = Vec::new();
        for lease in self.leases_of(id) {
            let Some(active) = self.release(lease) else { continue };
            let Some(run) = self.runs.get(&id).filter(|_| !active.is_check) else { continue };
            let Some(stage) = run.tasks(lease.task.stage) else { continue };
            let bill = self.bill_cut_off(stage, &active, now);
            let price = self.charge(lease, &active, bill, now);
            ended.push(TaskRecord { price, ..active.record(lease, TaskState::Failed) });
        }
        ended
    }

    fn leases_of(&self, id: RunId) -> Vec<Lease> {
        let Some(run) = self.runs.get(&id) else { return Vec::new() };
        run.task_stages().flat_map(|stage| stage.leased().map(|(lease, _)| lease)).collect()
    }

    /// Ends what a run has handed out and not got back, beside what was cut off.
    fn end_tasks(&mut self, id: RunId, mut ended: Vec<TaskRecord>, now: DateTime<Utc>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        for (task, tries) in run.take_waiting() {
            let lease = Lease { task, attempt: tries.attempt };
            let node = tries.failed_on.last().copied();
            ended.push(TaskRecord { node, ..tries.record(lease, TaskState::Failed) });
        }
        for lease in self.leases_of(id) {
            if let Some(active) = self.release(lease)
                && !active.is_check
            {
                ended.push(active.record(lease, TaskState::Failed));
            }
        }
        ended.extend(self.release_calls(id));
        for task in ended {
            let error = Some(RUN_ENDED.to_owned());
            self.put_task(TaskRecord { ended_at: Some(now), error, ..task });
        }
    }

    /// Takes a task from its node. What becomes of the task is up to the caller.
    pub(in crate::market) fn release(&mut self, lease: Lease) -> Option<Active> {
        let TaskRef { run: id, stage: no, index } = lease.task;
        let run = self.runs.get_mut(&id)?;
        run.active_lease(lease)?;
        let stage = run.tasks(no)?;
        let (needs, queue) = (stage.tasks.needs(), stage.queue());
        let owner = run.spec.workspace;
        let active = run.take_back(no, index)?;
        self.dry.remove(&(run.spec.workspace, id));
        if let Some(node) = self.nodes.get_mut(&active.node) {
            node.leased.remove(&lease);
            node.used = node.used.minus(needs);
            if let Some(gpu) = &active.gpu {
                node.gpus.give_back(gpu);
            }
            self.room.open(active.node);
        }
        let node = active.node;
        self.outbox.changes.leases.push(LeaseChange::Ended { node, lease });
        if let Some(by_turn_of) = active.by_turn_of {
            self.give_turn_back(id, by_turn_of);
        }
        self.note_runnable(id);
        self.count_released(owner, queue);
        Some(active)
    }

    pub(in crate::market) fn enter(&mut self, id: RunId, state: RunState, now: DateTime<Utc>) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.enter(state, now);
            self.outbox.runs.insert(id);
            self.notice_state(id);
        }
    }

    /// Stores a task as it stands, and notifies watchers.
    pub(in crate::market) fn put_task(&mut self, task: TaskRecord) {
        if let Some(run) = self.runs.get(&task.task.run) {
            self.outbox.changes.notices.push(Notice::Task {
                task: task.task,
                owner: run.owner(),
                phase: run.phase_of(task.task.stage),
                attempt: task.attempt,
                state: task.state,
            });
        }
        self.outbox.tasks.insert(task.task, task);
    }
}
