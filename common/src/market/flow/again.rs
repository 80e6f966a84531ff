//! Going on with a run that has ended. What was paid stays paid, and what is done stays done.
//!
//! Either only what the server itself does after the last task is done once more, which costs
//! nothing; or everything that is not done goes on, with the parts of the run that it waits for.

use chrono::{DateTime, TimeDelta, Utc};

use super::Next;
use super::set_aside::is_whole;
use crate::ids::RunId;
use crate::market::outbox::{TaskRecord, TaskState};
use crate::market::run::Run;
use crate::market::stage::{Open, Stage};
use crate::market::tasks::active::Tries;
use crate::market::{Market, Refused};
use crate::money::credits::Credits;
use crate::money::ledger::Account;
use crate::plan::{Body, DataTask};
use crate::run::RunState;
use crate::run::cause::CauseKind;
use crate::run::task::{Lease, StageNo};

/// A run that has ended, with what it can go on from, as it was stored.
#[derive(Debug)]
pub struct Interrupted {
    /// With the stages that were open at its end.
    pub run: Run,
    /// Those tasks of these stages that were handed out and have no result.
    pub tasks: Vec<TaskRecord>,
}

impl Market {
    /// Takes up a run that failed after its last task, as it was stored, with the stages that were
    /// open at its end.
    ///
    /// # Errors
    /// Where nodes would have to work for it again, or it goes on already.
    pub fn deliver_again(&mut self, run: Run, now: DateTime<Utc>) -> Result<(), Refused> {
        if self.runs.contains_key(&run.id) || !run.can_deliver_again() {
            return Err(Refused::NotDeliverable);
        }
        let id = run.id;
        self.take_up(run);
        self.running += 1;
        self.enter(id, RunState::Running, now);
        self.resume(id, now);
        Ok(())
    }

    /// Goes on with a run that failed or was cancelled: what has ended in it stays as it is, and
    /// every task without a result has all its attempts again. The first is the run itself; after
    /// it come the runs, in any depth, that open stages of these wait for.
    ///
    /// # Errors
    /// Where one of them cannot go on, or the wallet cannot hold what they need. Nothing has
    /// changed.
    pub fn retry(&mut self, all: Vec<Interrupted>, now: DateTime<Utc>) -> Result<(), Refused> {
        let Some(owner) = all.first().map(|first| first.run.spec.workspace) else {
            return Err(Refused::NoRun);
        };
        let (mut ready, mut needs) = (Vec::new(), Credits::ZERO);
        for interrupted in all {
            let (run, tasks) = self.ready(interrupted)?;
            let hold = self.hold_of_retry(&run);
            needs = needs.saturating_add(hold);
            ready.push((run, tasks, hold));
        }
        let available = self.ledger.balance(Account::Available(owner));
        if needs > available {
            return Err(Refused::Wallet { needs, available });
        }
        if let Some((first, ..)) = ready.first() {
            // Its parts are of the same project.
            self.check_cap(&first.spec, needs)?;
        }
        let mut taken_up = Vec::new();
        for (run, tasks, hold) in ready {
            let id = run.id;
            self.take_up(run);
            self.hold(id, hold, now).expect("the wallet and the cap have as much for all of them");
            for task in tasks {
                self.reopen_task(task);
            }
            taken_up.push(id);
        }
        for id in taken_up {
            self.go_on(id, now);
        }
        Ok(())
    }

    /// A run that can go on, with its tasks that are to be tried again.
    fn ready(&self, interrupted: Interrupted) -> Result<(Run, Vec<TaskRecord>), Refused> {
        let Interrupted { mut run, tasks } = interrupted;
        if self.stopping.contains_key(&run.id) || run.state() == RunState::Ending {
            return Err(Refused::Stopping);
        }
        let has_ended = matches!(run.state(), RunState::Failed | RunState::Cancelled);
        if self.runs.contains_key(&run.id) || !has_ended {
            return Err(Refused::NotRetryable);
        }
        if run.cause().is_some_and(|cause| cause.kind == CauseKind::Plan) {
            return Err(Refused::SamePlan);
        }
        if !self.has_queue_of(&run.spec) {
            return Err(Refused::NoQueue);
        }
        for task in &tasks {
            run.try_again(task);
        }
        if run.has_opened_any() && !is_whole(&run) {
            return Err(Refused::NotRetryable);
        }
        Ok((run, tasks))
    }

    /// What is held when a run goes on: nothing for tasks where all are done.
    fn hold_of_retry(&self, run: &Run) -> Credits {
        let has_work = !run.has_opened_any() || run.has_waiting() || run.has_work_to_come();
        if has_work { self.first_hold(run) } else { self.kept(run) }
    }

    fn take_up(&mut self, mut run: Run) {
        let id = run.id;
        run.clear_cause();
        self.outbox.stages.extend(run.stages().map(|stage| (id, stage.no)));
        self.outbox.runs.insert(id);
        self.runs.insert(run);
        self.note_job(id);
        self.enter_queue(id);
    }

    /// Stores that a task goes on whose last attempt had ended its run, or was cut off by its end.
    fn reopen_task(&mut self, ended: TaskRecord) {
        let lease = Lease { task: ended.task, attempt: ended.attempt };
        let tries = Tries { attempt: ended.attempt, ..Tries::default() };
        self.put_task(tries.record(lease, TaskState::Waiting));
        // A task that waited then was with no node, and its attempts are kept; so are a call's.
        if ended.node.is_some() && ended.leased_at.is_some() {
            self.outbox.changes.reopened.push(ended);
        }
    }

    fn go_on(&mut self, id: RunId, now: DateTime<Utc>) {
        let Some(run) = self.runs.get(&id) else { return };
        if !run.has_opened_any() {
            return self.begin_anew(id, now);
        }
        // A part that could not be started is not there.
        let is_missing = |stage: &&Stage| match stage.open {
            Open::Child(child) => !self.runs.contains_key(&child),
            Open::Group(_)
            | Open::Each(_)
            | Open::Tasks(_)
            | Open::Step
            | Open::Call(_)
            | Open::Resolving
            | Open::Output => false,
        };
        let missing: Vec<StageNo> = run.stages().filter(is_missing).map(|stage| stage.no).collect();
        self.running += 1;
        self.enter(id, RunState::Running, now);
        self.resume(id, now);
        for no in missing {
            self.follow(id, Next::Begin(no), now);
        }
    }

    /// Begins a run of which nothing had begun.
    fn begin_anew(&mut self, id: RunId, now: DateTime<Utc>) {
        let start_at = self.runs.get(&id).and_then(|run| run.spec.terms.start_at);
        match start_at.filter(|at| *at > now) {
            Some(at) => {
                self.enter(id, RunState::Scheduled, now);
                self.scheduled.insert((at, id));
            }
            None => {
                self.enter(id, RunState::Accepted, now);
                self.set_off(id, now);
            }
        }
    }
}

impl Run {
    /// Whether any block of it has been opened and has not ended.
    fn has_opened_any(&self) -> bool {
        self.stages().next().is_some()
    }

    /// Gives a run that has ended a task back that was handed out: it is tried as if for the first
    /// time, under the numbers that follow those of its attempts.
    fn try_again(&mut self, task: &TaskRecord) {
        let tries = Tries { attempt: task.attempt, ..Tries::default() };
        let no = task.task.stage;
        if let Some(tasks) = self.tasks_mut(no) {
            tasks.waiting.insert(task.task.index, tries);
        } else if let Some(call) = self.stage_mut(no).and_then(Stage::call_mut) {
            call.tries = tries;
        }
    }

    /// Whether nothing of it was open but deliveries, and what they are in.
    fn can_deliver_again(&self) -> bool {
        let mut deliveries = 0;
        let is_delivery = |stage: &Stage| match (&stage.open, self.step(stage)) {
            (Open::Step, Some(DataTask::Deliver { .. })) => {
                deliveries += 1;
                true
            }
            (Open::Group(_), _) => true,
            (_, _) => false,
        };
        let all = self.stages().all(is_delivery);
        self.state() == RunState::Failed && all && deliveries > 0
    }

    fn step(&self, stage: &Stage) -> Option<&DataTask> {
        match &self.spec.plan.block(stage.block).body {
            Body::Data(task) => Some(task),
            Body::Group(_)
            | Body::Each(_)
            | Body::Child(_)
            | Body::Container(_)
            | Body::Call(_) => None,
        }
    }

    /// When it must have ended, where its work has begun and has a limit: counted from when it was
    /// taken up again, where it was. It may have waited for a time that its customer chose.
    pub(in crate::market) fn deadline(&self) -> Option<DateTime<Utc>> {
        let secs = self.spec.timeout_secs?;
        let ends = [RunState::Failed, RunState::Ending, RunState::Cancelled];
        let end = ends.into_iter().filter_map(|state| self.times().of(state)).max();
        let accepted = self.times().began();
        // One that is taken up is not accepted again, unless nothing of it had begun.
        let is_taken_up = end.is_some_and(|end| accepted.is_none_or(|accepted| accepted <= end));
        let began = if is_taken_up { self.times().of(RunState::Running) } else { accepted };
        Some(began? + TimeDelta::seconds(secs.into()))
    }
}
