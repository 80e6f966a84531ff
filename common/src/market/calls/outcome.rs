//! What becomes of a call when an attempt of it ends: paid for, made again, or the end of its run.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::open_call::{CallState, OpenCall};
use crate::call::{Answer, Report};
use crate::market::Market;
use crate::market::outbox::{AnswerRecord, TaskRecord, TaskState};
use crate::money::credits::Credits;
use crate::money::ledger::{Account, Kind, Posting};
use crate::money::shard::Shard;
use crate::run::cause::{Cause, CauseKind};
use crate::run::task::{Lease, TaskRef};

impl Market {
    /// An attempt of a call has ended. One that is not under way any more changes nothing.
    pub fn call_ended(&mut self, lease: Lease, report: Report, now: DateTime<Utc>) {
        let run = self.runs.get(&lease.task.run);
        let Some((work, since)) = run.and_then(|run| run.call_under_way(lease)) else { return };
        match report {
            Report::Lost(reason) => {
                let losses = self.open_call(lease.task).map_or(0, |call| call.tries.losses);
                self.lose_call(lease.task, &reason, pause_after(losses), now);
            }
            Report::Invalid(reason) => {
                self.note_failed_in(lease.task.run, lease.task.stage);
                self.fail(lease.task.run, Cause::new(CauseKind::Plan, reason), now);
            }
            Report::Ended(answer) => match answer.failure(&work.call) {
                None => self.accept_call(lease, since, answer, now),
                Some(reason) => self.fail_call(lease, since, answer, &reason, now),
            },
        }
    }

    /// Accepts a call and pays for it: both or neither.
    fn accept_call(
        &mut self,
        lease: Lease,
        began_at: DateTime<Utc>,
        answer: Answer,
        now: DateTime<Utc>,
    ) {
        let TaskRef { run: id, stage: no, index } = lease.task;
        let Some((_, work)) = self.call_task(lease.task) else { return };
        let price = work.price;
        let value = String::from_utf8_lossy(&answer.body).into_owned();
        let Some(record) = self.end_attempt(lease, TaskState::Done, now) else { return };
        self.outbox.changes.call_answers.push(AnswerRecord {
            lease,
            began_at,
            answer,
            next_at: None,
        });
        self.capture_call(lease, price, now);
        self.put_task(TaskRecord { price, ..record });
        if let Some(run) = self.runs.get_mut(&id) {
            run.end_trouble(no, index);
        }
        self.outbox.runs.insert(id);
        self.take_value(lease.task, Some(value.into()), now);
        self.end_stage_of_call(id, no, now);
    }

    /// The receiver did not do what the call asks for: again, if the job allows it, or the end of
    /// the run, which costs nothing for it.
    fn fail_call(
        &mut self,
        lease: Lease,
        began_at: DateTime<Utc>,
        answer: Answer,
        reason: &str,
        now: DateTime<Utc>,
    ) {
        let task = lease.task;
        let Some((run, work)) = self.call_task(task) else { return };
        let failures = self.open_call(task).map_or(0, |call| call.tries.failures) + 1;
        let wait = work.retry.wait(task.id(), failures, answer.retry_after_secs);
        let what = run.stage(task.stage).map(|stage| run.spec.plan.task_name(stage.block, 0));
        let next_at = wait.map(|wait| now + wait);
        if let Some(call) = self.open_call_mut(task) {
            call.tries.failures = failures;
        }
        self.outbox.changes.call_answers.push(AnswerRecord { lease, began_at, answer, next_at });
        let Some(record) = self.end_attempt(lease, TaskState::Failed, now) else { return };
        let record = TaskRecord { error: Some(reason.to_owned()), ..record };
        if let Some(at) = next_at {
            return self.call_again(record, at, now);
        }
        self.put_task(record);
        let times = if failures == 1 { String::new() } else { format!(" {failures} times") };
        let what = what.unwrap_or_else(|| "the call".to_owned());
        let message = format!("{what} failed{times}: {reason}");
        self.note_failed_in(task.run, task.stage);
        self.fail(task.run, Cause::new(CauseKind::TaskFailed, message), now);
    }

    /// The server itself lost an attempt: it is made again after a pause, unless that happened too
    /// often.
    pub(super) fn lose_call(
        &mut self,
        task: TaskRef,
        reason: &str,
        pause: TimeDelta,
        now: DateTime<Utc>,
    ) {
        let Some((attempt, began_at)) = self.open_call_mut(task).and_then(lose) else { return };
        let lease = Lease { task, attempt };
        let losses = self.open_call(task).map_or(0, |call| call.tries.losses);
        let Some(record) = self.end_attempt(lease, TaskState::Failed, now) else { return };
        let record = TaskRecord { error: Some(reason.to_owned()), ..record };
        let goes_on = losses < self.policy.call_losses_max;
        let at = now + pause;
        let next_at = goes_on.then_some(at);
        let answer = Answer::none(reason, took_ms(began_at, now));
        self.outbox.changes.call_answers.push(AnswerRecord { lease, began_at, answer, next_at });
        if goes_on {
            return self.call_again(record, at, now);
        }
        self.put_task(record);
        let message = format!("the server lost the call {losses} times; at last: {reason}");
        self.note_failed_in(task.run, task.stage);
        self.give_up(task.run, Cause::new(CauseKind::TaskLost, message), now);
    }

    /// Ends the attempt that is under way; gives its record.
    fn end_attempt(
        &mut self,
        lease: Lease,
        state: TaskState,
        now: DateTime<Utc>,
    ) -> Option<TaskRecord> {
        let record = self.open_call(lease.task)?.record(lease, state);
        self.release_call(lease.task);
        Some(TaskRecord { ended_at: Some(now), ..record })
    }

    /// The attempt has ended, and its call is made again, not before `at`.
    fn call_again(&mut self, ended: TaskRecord, at: DateTime<Utc>, now: DateTime<Utc>) {
        let task = ended.task;
        let reason = ended.error.clone().unwrap_or_default();
        let not_before = (at > now).then_some(at);
        self.put_task(TaskRecord { state: TaskState::Waiting, not_before, ..ended });
        if let Some(run) = self.runs.get_mut(&task.run) {
            run.note_trouble(task.stage, task.index, &reason);
            self.outbox.runs.insert(task.run);
        }
        if at <= now {
            return self.queue_call(task);
        }
        if let Some(call) = self.open_call_mut(task) {
            call.state = CallState::Pausing(at);
            self.calls.pauses.insert((at, task));
        }
    }

    /// Takes the price of a call out of its run's hold. No operator has worked for it: it goes
    /// where the fees of the server go.
    fn capture_call(&mut self, lease: Lease, amount: Credits, now: DateTime<Utc>) {
        let Some(run) = self.runs.get_mut(&lease.task.run).filter(|_| !amount.is_zero()) else {
            return;
        };
        let spec = Arc::clone(&run.spec);
        let owner = spec.workspace;
        run.purse.capture(amount);
        let posting = Posting {
            from: Account::Held(owner),
            to: Account::World(Shard::of(owner)),
            amount,
            kind: Kind::Capture,
            run: Some(lease.task.run),
            lease: Some(lease),
            request: None,
        };
        self.post(posting, now).expect("the held account holds the sum of all runs' holds");
        self.cap_spent(&spec, amount);
    }
}

/// Counts a loss; gives the attempt and when it began.
fn lose(call: &mut OpenCall) -> Option<(u32, DateTime<Utc>)> {
    let since = call.since()?;
    call.tries.losses += 1;
    Some((call.tries.attempt, since))
}

/// What the server lacks for a call may be back soon.
fn pause_after(losses: u32) -> TimeDelta {
    TimeDelta::seconds(1 << losses.min(6))
}

fn took_ms(since: DateTime<Utc>, now: DateTime<Utc>) -> u32 {
    u32::try_from((now - since).num_milliseconds().max(0)).unwrap_or(u32::MAX)
}
