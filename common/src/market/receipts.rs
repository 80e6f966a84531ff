//! What becomes of a task when its attempt ends: paid for, tried again, or the end of its run.

use chrono::{DateTime, Utc};

use super::Market;
use super::active::Active;
use super::outbox::{TaskRecord, TaskState};
use super::run::{Run, Single};
use crate::credits::Credits;
use crate::ids::NodeId;
use crate::price::price;
use crate::protocol::{Failure, Held, Outcome, Receipt, SignedReceipt};
use crate::resources::Usage;
use crate::task::{Lease, Stage};

/// Further attempts of a task whose image a node could not pull. The server found the image when
/// the run started, so one node's network may be the reason.
const PULL_RETRIES: u32 = 2;

impl Market {
    /// Settles a receipt. One for a lease that the node does not hold changes nothing.
    pub(super) fn take_receipt(
        &mut self,
        id: NodeId,
        receipt: Receipt,
        signed: SignedReceipt,
        now: DateTime<Utc>,
    ) {
        let lease = receipt.lease;
        let held = self
            .runs
            .get(&lease.task.run)
            .and_then(|run| run.active_lease(lease))
            .is_some_and(|active| active.node == id);
        if !held {
            return;
        }
        // A task that was over before its node could say that it has begun.
        let ran = Some(receipt.usage.wall_ms).filter(|ms| *ms > 0);
        self.note_held(id, Held { lease, running_ms: ran }, now);
        match receipt.outcome {
            Outcome::Succeeded { .. } => self.accept(lease, receipt.usage, signed, now),
            Outcome::Failed { failure, message } => {
                self.fail_task(lease, failure, &message, signed, now);
            }
            Outcome::NodeFault { message } => {
                self.strike_for(id, lease.task.run, now);
                self.lose(lease, &message, now);
            }
        }
    }

    /// Accepts a task's result and pays for it: both or neither.
    fn accept(&mut self, lease: Lease, usage: Usage, signed: SignedReceipt, now: DateTime<Utc>) {
        let run_id = lease.task.run;
        let Some(run) = self.runs.get(&run_id) else { return };
        let Some(active) = run.active_lease(lease) else { return };
        let (leased_at, bound) = (active.leased_at, active.bound);
        let ms = u64::try_from((now - leased_at).num_milliseconds()).unwrap_or(0);
        let usage = usage.at_most(Usage::full(run.needs(), ms));
        let cost = match lease.task.stage {
            Stage::Process => price(usage).min(bound),
            Stage::Partition | Stage::Assemble => Credits::ZERO,
        };
        let Some((_, active)) = self.release(run_id, lease.task.index) else { return };
        let Some(customer) = self.runs.get(&run_id).map(|run| run.spec.workspace) else { return };
        let Some(node) = self.nodes.get_mut(&active.node) else { return };
        node.health.succeed(customer);
        let operator = node.operator;
        self.capture(lease.task, operator, cost, now);
        self.put_task(TaskRecord {
            ended_at: Some(now),
            price: cost,
            receipt: Some(signed),
            ..active.record(lease, TaskState::Done)
        });
        if let Some(run) = self.runs.get_mut(&run_id) {
            if Run::is_single(lease.task.stage) {
                run.single = Single::Done;
            } else {
                run.chunks_done += 1;
                run.usage = run.usage.plus(usage);
            }
        }
        self.outbox.runs.insert(run_id);
        self.advance(run_id, now);
    }

    /// The customer's code failed: again, if the job allows it, or the end of the run.
    fn fail_task(
        &mut self,
        lease: Lease,
        failure: Failure,
        message: &str,
        signed: SignedReceipt,
        now: DateTime<Utc>,
    ) {
        let Some((_, mut active)) = self.release(lease.task.run, lease.task.index) else { return };
        active.tries.failures += 1;
        active.tries.failed_on.push(active.node);
        let tried = active.tries.failures;
        let reason = describe(failure, message);
        let allowed = self.runs.get(&lease.task.run).map_or(0, |run| run.spec.limits.task_retries);
        let retries =
            if failure == Failure::Registry { allowed.max(PULL_RETRIES) } else { allowed };
        let ended = TaskRecord {
            ended_at: Some(now),
            receipt: Some(signed),
            error: Some(reason.clone()),
            ..active.record(lease, TaskState::Failed)
        };
        if tried <= retries {
            self.wait_again(ended, active);
            return;
        }
        self.put_task(ended);
        let what = match lease.task.stage {
            Stage::Process => format!("chunk {}", lease.task.index),
            Stage::Partition => "the partitioner".to_owned(),
            Stage::Assemble => "the assembler".to_owned(),
        };
        let times = if tried == 1 { String::new() } else { format!(" {tried} times") };
        self.fail(lease.task.run, format!("{what} failed{times}: {reason}"), now);
    }

    /// The node lost the task: it goes elsewhere, unless too many nodes have lost it.
    pub(super) fn lose(&mut self, lease: Lease, reason: &str, now: DateTime<Utc>) {
        let Some((_, mut active)) = self.release(lease.task.run, lease.task.index) else { return };
        active.tries.losses += 1;
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
        self.fail(
            lease.task.run,
            format!(
                "task {} was lost by nodes {losses} times; at last: {reason}",
                lease.task.index
            ),
            now,
        );
    }

    /// The attempt has ended, and its task goes on with another.
    fn wait_again(&mut self, ended: TaskRecord, active: Active) {
        let task = ended.task;
        self.put_task(TaskRecord { state: TaskState::Waiting, receipt: None, ..ended.clone() });
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
    };
    // The message is the node's: cut to a line's length.
    let message: String = message.chars().take(500).collect();
    if message.is_empty() { what } else { format!("{what} ({message})") }
}
