//! Calls: the server holds their leases as nodes hold those of containers.
//!
//! An attempt is stored as a lease before its request is sent. A server that stops has lost the
//! attempts that were under way, and makes them again: they do not count as failures.

mod in_flight;
mod lanes;
pub(super) mod open_call;
mod outcome;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

pub use in_flight::{CallLimit, CallLimits};

use super::Market;
use super::outbox::{TaskRecord, TaskState};
use super::placement::waiting::Waiting;
use super::run::Run;
use super::stage::Stage;
use crate::call::{CallTask, host_of};
use crate::ids::RunId;
use crate::plan::BlockId;
use crate::run::cause::{Cause, CauseKind};
use crate::run::task::{Lease, StageNo, TaskRef};
use in_flight::Lane;
use lanes::Lanes;
use open_call::{CallState, OpenCall};

/// What an attempt is told to have been that was under way when its server stopped.
const SERVER_STOPPED: &str =
    "the server stopped during this request: the receiver may have got it, and gets it again";

/// The calls of all runs.
#[derive(Debug, Default)]
pub(super) struct Calls {
    lanes: Lanes,
    /// When the pauses between two attempts end.
    pauses: BTreeSet<(DateTime<Utc>, TaskRef)>,
}

impl Market {
    /// Puts a call that has been opened, loaded, or has to be made again, into its lane.
    pub(super) fn queue_call(&mut self, task: TaskRef) {
        let limits = self.policy.calls;
        let Some((lane, flow)) =
            self.call_task(task).map(|(run, work)| lane_of(run, task.stage, work))
        else {
            return;
        };
        let number = self.calls.lanes.put(lane, task, flow, limits);
        if let Some(call) = self.open_call_mut(task) {
            call.state = CallState::Queued(number);
        }
    }

    /// Goes on with a loaded call. One that was under way is lost: its answer came to nobody.
    pub(super) fn resume_call(&mut self, task: TaskRef, now: DateTime<Utc>) {
        match self.open_call(task).map(|call| call.state) {
            Some(CallState::Idle) => self.queue_call(task),
            Some(CallState::Pausing(until)) if until <= now => self.queue_call(task),
            Some(CallState::Pausing(until)) => {
                self.calls.pauses.insert((until, task));
            }
            Some(CallState::UnderWay(_)) => {
                self.lose_call(task, SERVER_STOPPED, TimeDelta::zero(), now);
            }
            Some(CallState::Queued(_)) | None => {}
        }
    }

    /// Gives a loaded call what its row says.
    pub(super) fn restore_call(&mut self, record: &TaskRecord) {
        let Some(call) = self.open_call_mut(record.task) else { return };
        call.tries.attempt = record.attempt;
        call.tries.failures = record.failures;
        call.tries.losses = record.losses;
        call.state = match (record.state, record.not_before, record.leased_at) {
            (TaskState::Leased, _, since) => CallState::UnderWay(since.unwrap_or_default()),
            (TaskState::Waiting, Some(until), _) => CallState::Pausing(until),
            (TaskState::Waiting, None, _) | (TaskState::Done | TaskState::Failed, ..) => {
                CallState::Idle
            }
        };
        if matches!(call.state, CallState::UnderWay(_))
            && let Some((run, work)) = self.call_task(record.task)
        {
            // It is released as any other that is under way.
            let ((lane, flow), price) = (lane_of(run, record.task.stage, work), work.price);
            let since = record.leased_at.unwrap_or_default();
            self.calls.lanes.begin_loaded(&lane, &flow, since);
            if let Some(run) = self.runs.get_mut(&record.task.run) {
                run.purse.commit(price);
            }
        }
        if let (Some(reason), Some(run)) = (&record.error, self.runs.get_mut(&record.task.run)) {
            run.note_trouble(record.task.stage, record.task.index, reason);
        }
    }

    /// Begins calls until a limit is reached or none waits.
    pub(super) fn dispatch_calls(&mut self, now: DateTime<Utc>) {
        self.end_call_pauses(now);
        let limits = self.policy.calls;
        while let Some(task) = self.calls.lanes.take(limits, now) {
            self.lease_call(task, now);
        }
    }

    /// Leases a call to the server, where its run's hold covers it.
    fn lease_call(&mut self, task: TaskRef, now: DateTime<Utc>) {
        let Some((_, work)) = self.call_task(task) else { return };
        let price = work.price;
        if let Some(call) = self.open_call_mut(task) {
            call.state = CallState::UnderWay(now);
            call.tries.attempt += 1;
        }
        if let Err(refused) = self.cover(task.run, price, now) {
            self.calls_released(task);
            let reason = format!("the wallet cannot pay for its next call: {refused}");
            return self.fail(task.run, Cause::new(CauseKind::Credits, reason), now);
        }
        let Some(run) = self.runs.get_mut(&task.run) else { return };
        run.purse.commit(price);
        let Some(call) = self.open_call(task) else { return };
        let lease = Lease { task, attempt: call.tries.attempt };
        let record = call.record(lease, TaskState::Leased);
        self.put_task(record);
        if self.note_working(task.run, now) {
            self.notice_state(task.run);
        }
        if lease.attempt == 1 {
            self.tell_begun(task.run, task.stage, now);
        }
        self.outbox.runs.insert(task.run);
        self.outbox.changes.calls.push(lease);
    }

    fn end_call_pauses(&mut self, now: DateTime<Utc>) {
        while let Some((at, task)) = self.calls.pauses.first().copied()
            && at <= now
        {
            self.calls.pauses.pop_first();
            if self.open_call(task).is_some_and(|call| call.pauses_until() == Some(at)) {
                self.queue_call(task);
            }
        }
        self.calls.lanes.tidy(now);
    }

    /// Takes a call from wherever it is. What becomes of its task is up to the caller.
    pub(super) fn release_call(&mut self, task: TaskRef) {
        let Some(state) = self.open_call(task).map(|call| call.state) else { return };
        match state {
            CallState::Idle => {}
            CallState::Queued(number) => {
                let lane = self.call_task(task).map(|(run, work)| lane_of(run, task.stage, work).0);
                if let Some(lane) = lane {
                    self.calls.lanes.remove(&lane, number);
                }
            }
            CallState::Pausing(until) => {
                self.calls.pauses.remove(&(until, task));
            }
            CallState::UnderWay(_) => {
                let price = self.call_task(task).map(|(_, work)| work.price).unwrap_or_default();
                if let Some(run) = self.runs.get_mut(&task.run) {
                    run.purse.release(price);
                }
                return self.calls_released(task);
            }
        }
        if let Some(call) = self.open_call_mut(task) {
            call.state = CallState::Idle;
        }
    }

    /// A call is no longer under way.
    fn calls_released(&mut self, task: TaskRef) {
        let limits = self.policy.calls;
        let lane = self.call_task(task).map(|(run, work)| lane_of(run, task.stage, work).0);
        if let Some(lane) = lane {
            self.calls.lanes.end(&lane, limits);
        }
        if let Some(call) = self.open_call_mut(task) {
            call.state = CallState::Idle;
        }
    }

    /// Takes all calls of a run that ends; gives the records of those that had begun.
    pub(super) fn release_calls(&mut self, id: RunId) -> Vec<TaskRecord> {
        let Some(run) = self.runs.get(&id) else { return Vec::new() };
        let calls: Vec<(TaskRef, Option<TaskRecord>)> = run
            .calls()
            .map(|(task, call)| {
                let lease = Lease { task, attempt: call.tries.attempt };
                let has_begun = call.tries.attempt > 0;
                (task, has_begun.then(|| call.record(lease, TaskState::Failed)))
            })
            .collect();
        for (task, _) in &calls {
            self.release_call(*task);
        }
        calls.into_iter().filter_map(|(_, record)| record).collect()
    }

    /// When calls go on that nothing but time stops.
    pub(super) fn next_call_due(&self) -> Option<DateTime<Utc>> {
        let pause = self.calls.pauses.first().map(|(at, _)| *at);
        pause.into_iter().chain(self.calls.lanes.next_due()).min()
    }

    /// How many calls are under way, and how many wait for their turn.
    pub(super) fn call_figures(&self) -> (usize, usize) {
        (self.calls.lanes.flying().all() as usize, self.calls.lanes.count())
    }

    /// Why a run's calls do not go on; `None` where one is under way, or it has none.
    pub(super) fn call_waits(&self, run: &Run, now: DateTime<Utc>) -> Option<Waiting> {
        let mut first = None;
        for (task, call) in run.calls() {
            match call.state {
                CallState::UnderWay(_) => return None,
                CallState::Pausing(until) => {
                    let earlier = matches!(first, Some(Waiting::Retry(at)) if at <= until);
                    if !earlier {
                        first = Some(Waiting::Retry(until));
                    }
                }
                CallState::Queued(_) | CallState::Idle => {
                    let work = run.spec.plan.call_task(run.stage(task.stage)?.block)?;
                    let (lane, flow) = lane_of(run, task.stage, work);
                    let limits = self.policy.calls;
                    let stopped = self.calls.lanes.flying().limit(&lane, &flow, limits, now);
                    first = first.or(stopped.map(Waiting::CallLimit));
                }
            }
        }
        first
    }

    /// Compares what is counted of calls with what there is.
    pub(super) fn check_calls(&self) -> Result<(), String> {
        self.calls.lanes.check(self.policy.calls)?;
        let (mut queued, mut flying) = (0, 0);
        let (mut workspaces, mut hosts) = (BTreeMap::new(), BTreeMap::new());
        for (task, call) in self.runs.values().flat_map(Run::calls) {
            match call.state {
                CallState::Queued(_) => queued += 1,
                CallState::UnderWay(_) => {
                    let (run, work) = self.call_task(task).ok_or("a call without its plan")?;
                    let (lane, _) = lane_of(run, task.stage, work);
                    *workspaces.entry(lane.workspace).or_default() += 1;
                    *hosts.entry(lane.host).or_default() += 1;
                    flying += 1;
                }
                CallState::Pausing(until) if self.calls.pauses.contains(&(until, task)) => {}
                CallState::Pausing(_) | CallState::Idle => {
                    return Err(format!("the call {task} waits for nothing: {:?}", call.state));
                }
            }
        }
        let (all, counted) = (self.calls.lanes.flying(), self.call_figures());
        if (flying, queued) == counted && all.by_workspace_and_host() == (&workspaces, &hosts) {
            Ok(())
        } else {
            Err(format!("calls under way and queued: {:?}, counted {all:?}", (flying, queued)))
        }
    }

    fn call_task(&self, task: TaskRef) -> Option<(&Run, &CallTask)> {
        let run = self.runs.get(&task.run)?;
        Some((run, run.spec.plan.call_task(run.stage(task.stage)?.block)?))
    }

    fn open_call(&self, task: TaskRef) -> Option<&OpenCall> {
        self.runs.get(&task.run)?.stage(task.stage)?.call()
    }

    fn open_call_mut(&mut self, task: TaskRef) -> Option<&mut OpenCall> {
        self.runs.get_mut(&task.run)?.stage_mut(task.stage)?.call_mut()
    }
}

impl Run {
    /// Its open calls, each with its task.
    pub(super) fn calls(&self) -> impl Iterator<Item = (TaskRef, &OpenCall)> {
        self.stages().filter_map(|stage| {
            let task = TaskRef { run: self.id, stage: stage.no, index: 0 };
            Some((task, stage.call()?))
        })
    }

    /// Whether an attempt of the call of a block, which is opened once, is still to be begun.
    pub(super) fn is_call_to_come(&self, block: BlockId) -> bool {
        if self.spec.plan.is_repeated(block) {
            return false;
        }
        match self.stage(block.stage()).and_then(Stage::call) {
            Some(call) => call.since().is_none(),
            None => !self.has_begun(block),
        }
    }

    /// The attempt of a call that is under way under this lease, with the time of its begin.
    pub fn call_under_way(&self, lease: Lease) -> Option<(&CallTask, DateTime<Utc>)> {
        let stage = self.stage(lease.task.stage)?;
        let call = stage.call().filter(|call| call.tries.attempt == lease.attempt)?;
        Some((self.spec.plan.call_task(stage.block)?, call.since()?))
    }

    /// The calls that are under way.
    pub(super) fn calls_under_way(&self) -> impl Iterator<Item = (StageNo, &CallTask)> {
        self.stages().filter_map(|stage| {
            stage.call()?.since()?;
            Some((stage.no, self.spec.plan.call_task(stage.block)?))
        })
    }
}

/// Which lane a call stands in, and its customer's own limits.
fn lane_of(run: &Run, no: StageNo, work: &CallTask) -> (Lane, crate::call::Flow) {
    let late_url = run.stage(no).and_then(Stage::url);
    let host = late_url.map_or_else(|| work.call.host(), host_of);
    let flow = work.call.flow.clone();
    let key = (!flow.is_unlimited()).then(|| flow.key.clone().unwrap_or_else(|| host.clone()));
    (Lane { workspace: run.spec.workspace, host, key }, flow)
}
