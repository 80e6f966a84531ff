//! What becomes of a task when its attempt ends: paid for, tried again, or the end of its run.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::active::Active;
use super::task_stage::TaskStage;
use crate::compute::resources::Usage;
use crate::ids::NodeId;
use crate::market::Market;
use crate::market::outbox::{TaskRecord, TaskState};
use crate::market::trust::blame::{Cause, Count, Verdict, describe};
use crate::money::credits::Credits;
use crate::protocol::{Failure, Held, Outcome, Output, Receipt, SignedReceipt};
use crate::run::cause::{self, CauseKind};
use crate::run::task::{Lease, TaskRef};

/// What a receipt says of an attempt that was no success.
struct Setback {
    cause: Cause,
    reason: String,
    usage: Usage,
    signed: SignedReceipt,
}

impl Market {
    /// Settles a receipt. One for a lease that the node does not hold changes nothing.
    pub(in crate::market) fn take_receipt(
        &mut self,
        id: NodeId,
        receipt: Receipt,
        signed: SignedReceipt,
        now: DateTime<Utc>,
    ) {
        let Receipt { lease, usage, outcome } = receipt;
        let Some((stage, active)) = self.leased(lease).filter(|(_, active)| active.node == id)
        else {
            self.outbox.changes.receipts.outdated += 1;
            return;
        };
        let (is_check, must_give) = (active.is_check, stage.work.require_results);
        self.outbox.changes.receipts.count(&outcome, is_check, must_give);
        // A task that was over before its node could say that it has begun.
        let ran = Some(usage.wall_ms).filter(|ms| *ms > 0);
        self.note_held(
            id,
            Held { lease, running_ms: ran, waits_for_bucket: false, progress: None },
            now,
        );
        match outcome {
            outcome if is_check => {
                if matches!(outcome, Outcome::NodeFault { .. }) {
                    self.strike_for(id, lease.task.run, now);
                }
                self.end_check(lease, &outcome, now);
            }
            Outcome::Succeeded { outputs, .. } if outputs.is_empty() && must_give => {
                let reason = "it gave no results, and the job asks for some".to_owned();
                let cause = Cause::NoResults;
                self.set_back(lease, Setback { cause, reason, usage, signed }, now);
            }
            Outcome::Succeeded { outputs, value } => {
                self.accept(lease, usage, (&outputs, value), signed, now);
            }
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
        let Some((stage, active)) = self.leased(lease) else { return false };
        let than: Vec<NodeId> = [&active.tries.failed_on[..], &[active.node]].concat();
        let others_could_try = self.has_other_operator(stage, active.operator, &than, now)
            || self.has_another(stage, &than, now);
        let (node, operator) = (active.node, active.operator);
        let run = self.runs.get_mut(&lease.task.run);
        run.and_then(|run| run.active_lease_mut(lease)).is_some_and(|active| {
            active.tries.is_killed_by_itself(node, operator, others_could_try)
        })
    }

    /// A task under lease.
    pub(in crate::market) fn leased(&self, lease: Lease) -> Option<(TaskStage<'_>, &Active)> {
        let run = self.runs.get(&lease.task.run)?;
        Some((run.tasks(lease.task.stage)?, run.active_lease(lease)?))
    }

    /// Accepts a task's result and pays for it: both or neither.
    fn accept(
        &mut self,
        lease: Lease,
        usage: Usage,
        (outputs, value): (&[Output], Option<String>),
        signed: SignedReceipt,
        now: DateTime<Utc>,
    ) {
        let TaskRef { run: run_id, stage: no, index } = lease.task;
        let Some(active) = self.release(lease) else { return };
        let Some(stage) = self.runs.get(&run_id).and_then(|run| run.tasks(no)) else { return };
        let (bill, is_of_list) = (stage.bill(&active, usage, now), stage.is_list());
        let Some(run) = self.runs.get_mut(&run_id) else { return };
        let customer = run.spec.workspace;
        if let Some(tasks) = run.tasks_mut(no) {
            tasks.count_taken(active.operator, active.leased_at);
            tasks.accept(bill.usage.wall_ms);
        }
        let is_limited = run.tasks(no).is_some_and(|stage| stage.tasks.is_limited());
        if is_of_list {
            run.count_done(!outputs.is_empty());
        }
        run.end_trouble(no, index);
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
        self.outbox.stages.insert((run_id, no));
        if is_limited {
            // There is room for one more.
            self.note_runnable(run_id);
        }
        self.begin_check(lease, &active, (outputs, value.as_deref()), now);
        self.take_value(lease.task, value.map(Arc::from), now);
        self.end_if_over(run_id, no, now);
    }

    /// The customer's code failed: again, if the job allows it, or the end of the run. The word of
    /// an operator that is not proven is asked for once more elsewhere, and costs nothing.
    fn fail_task(&mut self, lease: Lease, setback: Setback, retries_min: u32, now: DateTime<Utc>) {
        let run_id = lease.task.run;
        let Some(mut active) = self.release(lease) else { return };
        let Some(stage) = self.runs.get(&run_id).and_then(|run| run.tasks(lease.task.stage)) else {
            return;
        };
        active.tries.failed_on.push(active.node);
        let Setback { cause, reason, usage, signed } = setback;
        let Verdict { is_paid, pause, .. } = cause.verdict();
        // Where nodes have agreed, what none of them could tell alone is the container's doing.
        let is_paid = is_paid || cause == Cause::Told(Failure::Killed);
        let mut at = now + pause.after(lease);
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
            && self.has_other_operator(stage, operator, failed_on, now)
        {
            active.tries.is_doubted = true;
            return self.wait_again(ended, active, &reason, at, now);
        }
        active.tries.failures += 1;
        let tried = active.tries.failures;
        let retries = stage.work.retries.max(retries_min);
        let waits = stage.work.waits.as_ref();
        if let Some(wait) = waits.and_then(|waits| waits.after(lease.task.id(), tried)) {
            at = at.max(now + wait);
        }
        let what = stage.task_name(lease.task.index);
        let bill = is_paid.then(|| self.bill_fruitless(stage, &active, usage, now));
        let price = bill.map_or(Credits::ZERO, |bill| self.charge(lease, &active, bill, now));
        let ended = TaskRecord { price, failures: tried, ..ended };
        self.outbox.runs.insert(run_id);
        if tried <= retries {
            return self.wait_again(ended, active, &reason, at, now);
        }
        self.put_task(ended);
        let times = if tried == 1 { String::new() } else { format!(" {tried} times") };
        let message = format!("{what} failed{times}: {reason}");
        self.note_failed_in(run_id, lease.task.stage);
        self.fail(run_id, cause::Cause::new(CauseKind::TaskFailed, message), now);
    }

    /// The node lost the task: it goes elsewhere, unless too many nodes have lost it.
    pub(in crate::market) fn lose(
        &mut self,
        lease: Lease,
        cause: Cause,
        reason: &str,
        now: DateTime<Utc>,
    ) {
        let Verdict { party, count, strikes, pause, .. } = cause.verdict();
        let holder = self.leased(lease).filter(|_| strikes).map(|(_, active)| active.node);
        if let Some(node) = holder {
            self.strike_for(node, lease.task.run, now);
        }
        let Some((stage, active)) = self.leased(lease) else { return };
        if active.is_check {
            let outcome = Outcome::NodeFault { message: reason.to_owned() };
            return self.end_check(lease, &outcome, now);
        }
        // An operator's many nodes must not end a run that others could do, nor an outage of the
        // server one that waits for its end.
        let by_the_hour = count == Count::LossByTheHour;
        let counts = !self.may_wait_elsewhere(stage, active, now)
            && (!by_the_hour || !self.trust.is_proven(active.operator));
        let what = stage.task_name(lease.task.index);
        let Some(mut active) = self.release(lease) else { return };
        let counts = counts && (!by_the_hour || active.tries.counts_by_the_hour(now));
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
        let reason = format!("{what} was lost {losses} times; at last: {reason}");
        self.note_failed_in(lease.task.run, lease.task.stage);
        self.give_up(lease.task.run, cause::Cause::new(CauseKind::TaskLost, reason), now);
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
        self.outbox.changes.attempts.push(ended);
        if let Some(run) = self.runs.get_mut(&task.run) {
            run.note_trouble(task.stage, task.index, reason);
            self.outbox.runs.insert(task.run);
        }
        self.try_again(task, active.tries, at, now);
    }
}
