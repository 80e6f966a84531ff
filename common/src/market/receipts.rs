//! What becomes of a task when its attempt ends: paid for, tried again, or the end of its run.

use chrono::{DateTime, Utc};

use super::Market;
use super::active::Active;
use super::outbox::{TaskRecord, TaskState};
use super::run::{Run, Single};
use crate::credits::Credits;
use crate::ids::NodeId;
use crate::protocol::{Failure, Held, Outcome, Output, Receipt, SignedReceipt};
use crate::resources::Usage;
use crate::task::{Lease, Stage};

/// Further attempts of a task whose image a node could not pull. The server found the image when
/// the run started, so one node's network may be the reason.
const PULL_RETRIES: u32 = 2;

/// What a receipt says of an attempt that was no success.
struct Setback {
    reason: String,
    /// What it used, where that is paid for.
    usage: Option<Usage>,
    /// Further attempts that there are, whatever the job allows.
    retries: u32,
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
        self.note_held(id, Held { lease, running_ms: ran }, now);
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
                self.fail_task(lease, Setback { reason, usage: None, retries: 0, signed }, now);
            }
            Outcome::Succeeded { outputs } => self.accept(lease, usage, &outputs, signed, now),
            Outcome::Failed { failure, message } => {
                let reason = describe(failure, &message);
                let retries = if failure == Failure::Registry { PULL_RETRIES } else { 0 };
                self.fail_task(lease, Setback { reason, usage: Some(usage), retries, signed }, now);
            }
            Outcome::NodeFault { message } => {
                self.strike_for(id, lease.task.run, now);
                self.lose(lease, &message, now);
            }
        }
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
        if let Some(node) = self.nodes.get_mut(&active.node) {
            node.health.succeed(customer);
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
    fn fail_task(&mut self, lease: Lease, setback: Setback, now: DateTime<Utc>) {
        let run_id = lease.task.run;
        let Some((_, mut active)) = self.release(run_id, lease.task.index) else { return };
        let Some(run) = self.runs.get(&run_id) else { return };
        active.tries.failed_on.push(active.node);
        let Setback { reason, usage, retries: least, signed } = setback;
        let ended = TaskRecord {
            ended_at: Some(now),
            receipt: Some(signed),
            error: Some(reason.clone()),
            ..active.record(lease, TaskState::Failed)
        };
        let is_doubtful = usage.is_none() || !self.trust.is_proven(active.operator);
        let (operator, failed_on) = (active.operator, &active.tries.failed_on);
        if is_doubtful
            && !active.tries.is_doubted
            && self.has_other_operator(run, operator, failed_on, now)
        {
            active.tries.is_doubted = true;
            return self.wait_again(ended, active);
        }
        active.tries.failures += 1;
        let (tried, retries) = (active.tries.failures, run.spec.limits.task_retries.max(least));
        let bill = usage.map(|usage| self.bill_fruitless(run, &active, usage, now));
        let price = bill.map_or(Credits::ZERO, |bill| self.charge(lease, &active, bill, now));
        let ended = TaskRecord { price, failures: tried, ..ended };
        self.outbox.runs.insert(run_id);
        if tried <= retries {
            return self.wait_again(ended, active);
        }
        self.put_task(ended);
        let what = match lease.task.stage {
            Stage::Process => format!("chunk {}", lease.task.index),
            Stage::Partition => "the partitioner".to_owned(),
            Stage::Assemble => "the assembler".to_owned(),
        };
        let times = if tried == 1 { String::new() } else { format!(" {tried} times") };
        self.fail(run_id, format!("{what} failed{times}: {reason}"), now);
    }

    /// The node lost the task: it goes elsewhere, unless too many nodes have lost it.
    pub(super) fn lose(&mut self, lease: Lease, reason: &str, now: DateTime<Utc>) {
        let active = self.runs.get(&lease.task.run).and_then(|run| run.active_lease(lease));
        if active.is_some_and(|active| active.is_check) {
            let outcome = Outcome::NodeFault { message: reason.to_owned() };
            return self.end_check(lease, &outcome, now);
        }
        // An operator's many nodes must not end a run that others could do.
        let counts = match (self.runs.get(&lease.task.run), active) {
            (Some(run), Some(active)) => !self.may_wait_elsewhere(run, active, now),
            (_, _) => true,
        };
        let Some((_, mut active)) = self.release(lease.task.run, lease.task.index) else { return };
        active.tries.losses += u32::from(counts);
        active.tries.failed_on.push(active.node);
        let losses = active.tries.losses;
        let ended = TaskRecord {
            ended_at: Some(now),
            error: Some(reason.to_owned()),
            ..active.record(lease, TaskState::Failed)
        };
        if losses < self.policy.losses_max {
            self.wait_again(ended, active);
            return;
        }
        self.put_task(ended);
        let index = lease.task.index;
        let reason = format!("task {index} was lost by nodes {losses} times; at last: {reason}");
        self.give_up(lease.task.run, reason, now);
    }

    /// The attempt has ended, and its task goes on with another.
    fn wait_again(&mut self, ended: TaskRecord, active: Active) {
        let task = ended.task;
        self.put_task(TaskRecord {
            state: TaskState::Waiting,
            receipt: None,
            price: Credits::ZERO,
            ..ended.clone()
        });
        self.outbox.attempts.push(ended);
        if let Some(run) = self.runs.get_mut(&task.run) {
            run.waiting.insert(task.index, active.tries);
        }
        self.note_runnable(task.run);
    }
}

fn describe(failure: Failure, message: &str) -> String {
    let what = match failure {
        Failure::ExitCode(code) => format!("it ended with exit code {code}"),
        Failure::Timeout => "it ran into the task timeout".to_owned(),
        Failure::OutOfMemory => "it needed more memory than its app asks for".to_owned(),
        Failure::Results => "its results cannot be taken".to_owned(),
        Failure::Package => "its package cannot be run".to_owned(),
        Failure::Registry => "its image cannot be pulled".to_owned(),
        Failure::Input => "its input cannot be read".to_owned(),
        Failure::Damaged => "what it runs is damaged".to_owned(),
    };
    // The message is the node's: cut to a line's length.
    let message: String = message.chars().take(500).collect();
    if message.is_empty() { what } else { format!("{what} ({message})") }
}
