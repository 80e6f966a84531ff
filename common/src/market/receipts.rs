//! What becomes of a task when its attempt ends: paid for, tried again, or the end of its run.

use chrono::{DateTime, Utc};

use super::Market;
use super::active::Active;
use super::blame::{Cause, Count, Verdict, describe};
use super::outbox::{TaskRecord, TaskState};
use super::run::{Run, Single};
use crate::credits::Credits;
use crate::ids::NodeId;
use crate::protocol::{Failure, Held, Outcome, Output, Receipt, SignedReceipt};
use crate::resources::Usage;
use crate::task::{Lease, Stage};

/// What a receipt says of an attempt that was no success.
struct Setback {
    cause: Cause,
    reason: String,
    usage: Usage,
    signed: SignedReceipt,
}

impl Market {
    /// Settles a receipt. One for a lease that the node does not hold changes nothing.
    pub(super) fn take_receipt(
        &mut self,
        id: NodeId,
        receipt: Receipt,
        signed: SignedReceipt,
        now: DateTime<Utc>,
    ) {
        let Receipt { lease, usage, outcome } = receipt;
        let held = self.runs.get(&lease.task.run).and_then(|run| {
            run.active_lease(lease).filter(|active| active.node == id).map(|_| run)
        });
        let Some(run) = held else { return };
        let is_check = run.active_lease(lease).is_some_and(|active| active.is_check);
        let must_give = lease.task.stage == Stage::Process && run.spec.limits.require_results;
        // A task that was over before its node could say that it has begun.
        let ran = Some(usage.wall_ms).filter(|ms| *ms > 0);
        self.note_held(id, Held { lease, running_ms: ran, waits_for_bucket: false }, now);
        match outcome {
            outcome if is_check => {
                if matches!(outcome, Outcome::NodeFault { .. }) {
                    self.strike_for(id, lease.task.run, now);
                }
                self.end_check(lease, &outcome, now);
            }
            Outcome::Succeeded { outputs } if outputs.is_empty() && must_give => {
                let reason =
                    "it gave no results, which the job's requireResults asks for".to_owned();
                let cause = Cause::NoResults;
                self.set_back(lease, Setback { cause, reason, usage, signed }, now);
            }
            Outcome::Succeeded { outputs } => self.accept(lease, usage, &outputs, signed, now),
            Outcome::Failed { failure, message } => {
                let (cause, reason) = (Cause::Told(failure), describe(failure, &message));
                self.set_back(lease, Setback { cause, reason, usage, signed }, now);
            }
            Outcome::NodeFault { message } => self.lose(lease, Cause::NodeFault, &message, now),
        }
    }

    /// An attempt gave no result: what follows is in the table of causes.
    fn set_back(&mut self, lease: Lease, setback: Setback, now: DateTime<Utc>) {
        match setback.cause.verdict().count {
            Count::Failure { retries_min } => self.fail_task(lease, setback, retries_min, now),
            Count::Loss | Count::LossByTheHour => {
                self.lose(lease, setback.cause, &setback.reason, now)
            }
            Count::LossUntilAgreed => {
                if self.is_killed_by_itself(lease, now) {
                    self.fail_task(lease, setback, 0, now);
                } else {
                    self.lose(lease, setback.cause, &setback.reason, now);
                }
            }
        }
    }

    /// Notes that a node says that a task's container was ended from outside; gives whether that
    /// must be the container's own doing.
    fn is_killed_by_itself(&mut self, lease: Lease, now: DateTime<Utc>) -> bool {
        let found = self.runs.get(&lease.task.run).and_then(|run| {
            let active = run.active_lease(lease)?;
            let than: Vec<NodeId> = [&active.tries.failed_on[..], &[active.node]].concat();
            let others = self.has_other_operator(run, active.operator, &than, now)
                || self.has_another(run, &than, now);
            Some((active.node, active.operator, others))
        });
        let Some((node, operator, others_could_try)) = found else { return false };
        let run = self.runs.get_mut(&lease.task.run);
        run.and_then(|run| run.active.get_mut(&lease.task.index)).is_some_and(|active| {
            active.tries.is_killed_by_itself(node, operator, others_could_try)
        })
    }

    /// Accepts a task's result and pays for it: both or neither.
    fn accept(
        &mut self,
        lease: Lease,
        usage: Usage,
        outputs: &[Output],
        signed: SignedReceipt,
        now: DateTime<Utc>,
    ) {
        let run_id = lease.task.run;
        let Some((_, active)) = self.release(run_id, lease.task.index) else { return };
        let Some(run) = self.runs.get_mut(&run_id) else { return };
        let (customer, bill) = (run.spec.workspace, run.bill(&active, usage, now));
        run.count_taken(active.operator, active.leased_at);
        if Run::is_single(lease.task.stage) {
            run.single = Single::Done;
        } else {
            run.chunks_done += 1;
            run.empty += u32::from(outputs.is_empty());
        }
        run.end_trouble(lease.task.index);
        if let Some(node) = self.nodes.get_mut(&active.node) {
            node.health.succeed(customer);
        }
        // It was not the container that ended itself there.
        for (node, _) in &active.tries.killed_on {
            self.strike(*node, customer, now);
        }
        self.note_accepted(active.node, !outputs.is_empty());
        let price = self.charge(lease, &active, bill, now);
        self.put_task(TaskRecord {
            ended_at: Some(now),
            price,
            receipt: Some(signed),
            ..active.record(lease, TaskState::Done)
        });
        self.outbox.runs.insert(run_id);
        self.begin_check(lease, &active, outputs, now);
        self.advance(run_id, now);
    }

    /// The customer's code failed: again, if the job allows it, or the end of the run. The word of
    /// an operator that is not proven is asked for once more elsewhere, and costs nothing.
    fn fail_task(&mut self, lease: Lease, setback: Setback, retries_min: u32, now: DateTime<Utc>) {
        let run_id = lease.task.run;
        let Some((_, mut active)) = self.release(run_id, lease.task.index) else { return };
        let Some(run) = self.runs.get(&run_id) else { return };
        active.tries.failed_on.push(active.node);
        let Setback { cause, reason, usage, signed } = setback;
        let Verdict { is_paid, pause, .. } = cause.verdict();
        // Where nodes have agreed, what none of them could tell alone is the container's doing.
        let is_paid = is_paid || cause == Cause::Told(Failure::Killed);
        let at = now + pause.after(lease);
        let ended = TaskRecord {
            ended_at: Some(now),
            receipt: Some(signed),
            error: Some(reason.clone()),
            ..active.record(lease, TaskState::Failed)
        };
        let is_doubtful = !is_paid || !self.trust.is_proven(active.operator);
        let (operator, failed_on) = (active.operator, &active.tries.failed_on);
        if is_doubtful
            && !active.tries.is_doubted
            && self.has_other_operator(run, operator, failed_on, now)
        {
            active.tries.is_doubted = true;
            return self.wait_again(ended, active, &reason, at, now);
        }
        active.tries.failures += 1;
        let tried = active.tries.failures;
        let retries = run.spec.limits.task_retries.max(retries_min);
        let bill = is_paid.then(|| self.bill_fruitless(run, &active, usage, now));
        let price = bill.map_or(Credits::ZERO, |bill| self.charge(lease, &active, bill, now));
        let ended = TaskRecord { price, failures: tried, ..ended };
        self.outbox.runs.insert(run_id);
        if tried <= retries {
            return self.wait_again(ended, active, &reason, at, now);
        }
        self.put_task(ended);
        let what = lease.task.stage.task_name(lease.task.index);
        let times = if tried == 1 { String::new() } else { format!(" {tried} times") };
        self.fail(run_id, format!("{what} failed{times}: {reason}"), now);
    }

    /// The node lost the task: it goes elsewhere, unless too many nodes have lost it.
    pub(super) fn lose(&mut self, lease: Lease, cause: Cause, reason: &str, now: DateTime<Utc>) {
        let Verdict { party, count, strikes, pause, .. } = cause.verdict();
        let holder = self.runs.get(&lease.task.run).and_then(|run| run.active_lease(lease));
        if let Some(node) = holder.filter(|_| strikes).map(|active| active.node) {
            self.strike_for(node, lease.task.run, now);
        }
        let active = self.runs.get(&lease.task.run).and_then(|run| run.active_lease(lease));
        if active.is_some_and(|active| active.is_check) {
            let outcome = Outcome::NodeFault { message: reason.to_owned() };
            return self.end_check(lease, &outcome, now);
        }
        // An operator's many nodes must not end a run that others could do, nor an outage of the
        // server one that waits for its end.
        let counts = match (self.runs.get(&lease.task.run), active) {
            (Some(run), Some(active)) => {
                !self.may_wait_elsewhere(run, active, now)
                    && (count != Count::LossByTheHour || !self.trust.is_proven(active.operator))
            }
            (_, _) => true,
        };
        let Some((_, mut active)) = self.release(lease.task.run, lease.task.index) else { return };
        let counts =
            counts && (count != Count::LossByTheHour || active.tries.counts_by_the_hour(now));
        active.tries.losses += u32::from(counts);
        active.tries.failed_on.push(active.node);
        let losses = active.tries.losses;
        let ended = TaskRecord {
            ended_at: Some(now),
            error: Some(reason.to_owned()),
            ..active.record(lease, TaskState::Failed)
        };
        if losses < self.policy.losses_max {
            let told = format!("{reason}; {}", party.as_str());
            return self.wait_again(ended, active, &told, now + pause.after(lease), now);
        }
        self.put_task(ended);
        let what = lease.task.stage.task_name(lease.task.index);
        let reason = format!("{what} was lost {losses} times; at last: {reason}");
        self.give_up(lease.task.run, reason, now);
    }

    /// The attempt has ended, and its task goes on with another, not before `at`.
    fn wait_again(
        &mut self,
        ended: TaskRecord,
        active: Active,
        reason: &str,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) {
        let task = ended.task;
        self.put_task(TaskRecord {
            state: TaskState::Waiting,
            receipt: None,
            price: Credits::ZERO,
            ..ended.clone()
        });
        self.outbox.attempts.push(ended);
        if let Some(run) = self.runs.get_mut(&task.run) {
            run.note_trouble(task.index, reason);
            self.outbox.runs.insert(task.run);
        }
        self.try_again(task.run, task.index, active.tries, at, now);
    }
}
