//! What nodes say, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::Market;
use super::life::record;
use super::node::Node;
use super::outbox::{LogRecord, TaskRecord, TaskState};
use super::run::{Run, Single, Tries};
use crate::ids::{NodeId, RunId, WorkspaceId};
use crate::price::price;
use crate::protocol::{ASSIGN_MAX, LogBatch, LogLine};
use crate::protocol::{
    Assignment, Failure, Inputs, Orders, Outcome, Receipt, SignedReceipt, Sync, Work,
};
use crate::resources::Usage;
use crate::run::RunState;
use crate::spec::{Assemble, Partition};
use crate::task::{Lease, Stage};

/// Lines taken from one attempt; what a node sends beyond is dropped.
const LINES_MAX: u32 = 2_000;
const LOG_BYTES_MAX: usize = 1 << 20;
/// The most bytes of params in one `Orders`, beside the first work's: a reader takes no message
/// of more than a few MiB. What is left out is said in the next.
const PARAMS_BYTES_MAX: usize = 4 << 20;

/// A node's message whose receipts have been verified and decoded.
#[derive(Debug)]
pub struct CheckedSync {
    pub sync: Sync,
    /// One for each of `sync.receipts` that is well-formed and well signed.
    pub receipts: Vec<(Receipt, SignedReceipt)>,
}

impl Market {
    /// Takes in what a node says: renews its leases, settles its receipts.
    pub fn sync(
        &mut self,
        id: NodeId,
        operator: WorkspaceId,
        heard: CheckedSync,
        now: DateTime<Utc>,
    ) {
        let CheckedSync { sync, receipts } = heard;
        let until = now + self.policy.lease;
        let node = self.nodes.entry(id).or_insert_with(|| Node::absent(operator, until));
        if node.former == Some(sync.incarnation) {
            // A dead process's last words, come late: only its signature still counts.
            for (receipt, signed) in receipts {
                self.take_receipt(id, receipt, signed, now);
            }
            return;
        }
        let restarted = node.incarnation.is_some_and(|known| known != sync.incarnation);
        if restarted {
            node.former = node.incarnation;
        }
        node.incarnation = Some(sync.incarnation);
        node.capacity = sync.capacity;
        node.prefetch = sync.prefetch;
        node.until = until;
        node.listed = sync.holding.iter().map(|held| held.lease).collect();
        node.listed.extend(receipts.iter().map(|(receipt, ..)| receipt.lease));
        self.open.insert(id);
        if restarted {
            self.lose_unlisted(id, now);
        }
        for held in &sync.holding {
            self.note_running(id, held.lease, held.running_ms, now);
        }
        for batch in sync.logs {
            self.take_logs(id, batch);
        }
        for (receipt, signed) in receipts {
            self.take_receipt(id, receipt, signed, now);
        }
    }

    /// What a node should do, or `None` where there is nothing to say. `settled` are the leases of
    /// the receipts that the answered message brought.
    pub fn orders(&self, id: NodeId, settled: Vec<Lease>) -> Option<Orders> {
        let node = self.nodes.get(&id)?;
        let assigned: Vec<Lease> =
            node.leased.difference(&node.listed).take(ASSIGN_MAX).copied().collect();
        let spoken: BTreeSet<Lease> = settled.iter().copied().collect();
        let cancel: Vec<Lease> = node
            .listed
            .difference(&node.leased)
            .filter(|lease| !spoken.contains(lease))
            .copied()
            .collect();
        if assigned.is_empty() && cancel.is_empty() && settled.is_empty() {
            return None;
        }
        let (works, assign) = self.assignments(assigned);
        Some(Orders::Work { works, assign, cancel, settled })
    }

    /// The leases as a node gets them, as many as one message carries, with each one's work.
    fn assignments(&self, leases: Vec<Lease>) -> (Vec<Work>, Vec<Assignment>) {
        let mut works: BTreeMap<_, Work> = BTreeMap::new();
        let (mut assign, mut bytes) = (Vec::with_capacity(leases.len()), 0);
        for lease in leases {
            let Some(run) = self.runs.get(&lease.task.run) else { continue };
            let stage = lease.task.stage;
            if !works.contains_key(&(run.id, stage)) {
                let Some(work) = work(run, stage) else { continue };
                bytes += work.params.len();
                if bytes > PARAMS_BYTES_MAX && !works.is_empty() {
                    break;
                }
                works.insert((run.id, stage), work);
            }
            assign.extend(assignment(run, lease));
        }
        (works.into_values().collect(), assign)
    }

    fn strike_for(&mut self, id: NodeId, run: RunId, now: DateTime<Utc>) {
        if let Some(customer) = self.runs.get(&run).map(|run| run.spec.workspace) {
            self.strike(id, customer, now);
        }
    }

    /// The node's process is a new one: what it does not list, it lost.
    fn lose_unlisted(&mut self, id: NodeId, now: DateTime<Utc>) {
        let Some(node) = self.nodes.get(&id) else { return };
        let lost: Vec<Lease> = node.leased.difference(&node.listed).copied().collect();
        for lease in lost {
            self.lose(lease, "its node started anew".to_owned(), now);
        }
    }

    fn note_running(
        &mut self,
        id: NodeId,
        lease: Lease,
        running_ms: Option<u64>,
        now: DateTime<Utc>,
    ) {
        let Some(ms) = running_ms.and_then(|ms| i64::try_from(ms).ok()) else { return };
        let Some(run) = self.runs.get_mut(&lease.task.run) else { return };
        if run.active_lease(lease).is_some_and(|active| active.node == id)
            && let Some(active) = run.active.get_mut(&lease.task.index)
        {
            let since = now - TimeDelta::milliseconds(ms.min(i64::from(u32::MAX)));
            active.running_since.get_or_insert(since.max(active.leased_at));
        }
    }

    fn take_logs(&mut self, id: NodeId, mut batch: LogBatch) {
        let Some(run) = self.runs.get_mut(&batch.lease.task.run) else { return };
        if run.active_lease(batch.lease).is_none_or(|active| active.node != id) {
            return;
        }
        let Some(active) = run.active.get_mut(&batch.lease.task.index) else { return };
        // A batch that comes again begins with what has been taken already; after a restart of
        // the server it begins later than what is known here.
        let logs = &mut active.logs;
        let known = logs.lines.saturating_sub(batch.first) as usize;
        let first = batch.first.max(logs.lines);
        batch.lines.truncate(LINES_MAX.saturating_sub(batch.first) as usize);
        let fits = |line: &LogLine| {
            logs.bytes = logs.bytes.saturating_add(line.text.len());
            logs.bytes <= LOG_BYTES_MAX
        };
        let lines: Vec<_> = batch.lines.into_iter().skip(known).take_while(fits).collect();
        if lines.is_empty() {
            return;
        }
        logs.lines = first.saturating_add(u32::try_from(lines.len()).unwrap_or(LINES_MAX));
        self.outbox.logs.push(LogRecord { lease: batch.lease, first, lines });
    }

    /// Settles a receipt. One for a lease that the node does not hold changes nothing.
    fn take_receipt(
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
        match receipt.outcome {
            Outcome::Succeeded { .. } => self.accept(lease, receipt.usage, signed, now),
            Outcome::Failed { failure, message } => {
                self.fail_task(lease, failure, &message, signed, now);
            }
            Outcome::NodeFault { message } => {
                self.strike_for(id, lease.task.run, now);
                self.lose(lease, message, now);
            }
        }
    }

    /// Accepts a task's result and pays for it: both or neither.
    fn accept(&mut self, lease: Lease, usage: Usage, signed: SignedReceipt, now: DateTime<Utc>) {
        let run_id = lease.task.run;
        let Some(run) = self.runs.get(&run_id) else { return };
        let Some(active) = run.active_lease(lease) else { return };
        let (leased_at, bound) = (active.leased_at, active.bound);
        let cost = match lease.task.stage {
            Stage::Process => {
                let ms = u64::try_from((now - leased_at).num_milliseconds()).unwrap_or(0);
                price(usage.at_most(Usage::full(run.needs(), ms))).min(bound)
            }
            Stage::Partition | Stage::Assemble => crate::credits::Credits::ZERO,
        };
        let Some((_, tries, node)) = self.release(run_id, lease.task.index) else { return };
        let Some(operator) = self.nodes.get_mut(&node).map(|node| {
            node.strikes = 0;
            node.operator
        }) else {
            return;
        };
        self.capture(lease.task, operator, cost, now);
        self.put_task(TaskRecord {
            node: Some(node),
            leased_at: Some(leased_at),
            ended_at: Some(now),
            price: cost,
            receipt: Some(signed),
            ..record(lease, TaskState::Done, &tries)
        });
        if let Some(run) = self.runs.get_mut(&run_id) {
            if Run::is_single(lease.task.stage) {
                run.single = Single::Done;
            } else {
                run.chunks_done += 1;
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
        let Some((_, mut tries, node)) = self.release(lease.task.run, lease.task.index) else {
            return;
        };
        tries.failures += 1;
        tries.failed_on.push(node);
        let reason = describe(failure, message);
        let retries = self.runs.get(&lease.task.run).map_or(0, |run| run.spec.limits.task_retries);
        if tries.failures <= retries {
            self.wait_again(lease, tries, node, reason, now);
            return;
        }
        self.put_task(TaskRecord {
            node: Some(node),
            ended_at: Some(now),
            receipt: Some(signed),
            error: Some(reason.clone()),
            ..record(lease, TaskState::Failed, &tries)
        });
        let what = match lease.task.stage {
            Stage::Process => format!("chunk {}", lease.task.index),
            Stage::Partition => "the partitioner".to_owned(),
            Stage::Assemble => "the assembler".to_owned(),
        };
        let tried = tries.failures;
        let times = if tried == 1 { String::new() } else { format!(" {tried} times") };
        self.fail(lease.task.run, format!("{what} failed{times}: {reason}"), now);
    }

    /// The node lost the task: it goes elsewhere, unless too many nodes have lost it.
    pub(super) fn lose(&mut self, lease: Lease, reason: String, now: DateTime<Utc>) {
        let Some((_, mut tries, node)) = self.release(lease.task.run, lease.task.index) else {
            return;
        };
        tries.losses += 1;
        tries.failed_on.push(node);
        if tries.losses < self.policy.losses_max {
            self.wait_again(lease, tries, node, reason, now);
            return;
        }
        self.put_task(TaskRecord {
            node: Some(node),
            ended_at: Some(now),
            error: Some(reason.clone()),
            ..record(lease, TaskState::Failed, &tries)
        });
        let losses = tries.losses;
        self.fail(
            lease.task.run,
            format!(
                "task {} was lost by nodes {losses} times; at last: {reason}",
                lease.task.index
            ),
            now,
        );
    }

    fn wait_again(
        &mut self,
        lease: Lease,
        tries: Tries,
        node: NodeId,
        reason: String,
        now: DateTime<Utc>,
    ) {
        self.put_task(TaskRecord {
            node: Some(node),
            ended_at: Some(now),
            error: Some(reason),
            ..record(lease, TaskState::Waiting, &tries)
        });
        if let Some(run) = self.runs.get_mut(&lease.task.run) {
            run.waiting.insert(lease.task.index, tries);
        }
        self.note_runnable(lease.task.run);
    }
}

fn describe(failure: Failure, message: &str) -> String {
    let what = match failure {
        Failure::ExitCode(code) => format!("it ended with exit code {code}"),
        Failure::Timeout => "it ran into the task timeout".to_owned(),
        Failure::OutOfMemory => "it needed more memory than its app asks for".to_owned(),
        Failure::Results => "its results cannot be taken".to_owned(),
        Failure::Package => "its package cannot be run".to_owned(),
        Failure::Input => "its input cannot be read".to_owned(),
    };
    // The message is the node's: cut to a line's length.
    let message: String = message.chars().take(500).collect();
    if message.is_empty() { what } else { format!("{what} ({message})") }
}

fn work(run: &Run, stage: Stage) -> Option<Work> {
    let container = run.spec.container(stage)?;
    Some(Work {
        run: run.id,
        stage,
        package: container.package.digest,
        image: container.image.clone(),
        entrypoint: container.entrypoint.clone(),
        needs: container.needs,
        params: serde_json::Value::Object(container.params.clone()).to_string(),
        task_timeout_secs: run.spec.limits.task_timeout_secs,
    })
}

fn assignment(run: &Run, lease: Lease) -> Option<Assignment> {
    let inputs = match lease.task.stage {
        Stage::Process => {
            let chunk = run.chunks.as_ref()?.get(lease.task.index)?;
            Inputs::Chunk { bytes: chunk.len(), name: chunk.object.name }
        }
        Stage::Partition | Stage::Assemble => Inputs::Files,
    };
    Some(Assignment { lease, inputs })
}

impl Run {
    /// Whether nodes are wanted at all: used by tests and by whoever explains a wait.
    pub fn wants_nodes(&self) -> bool {
        match self.state() {
            RunState::Processing => true,
            RunState::Partitioning => matches!(self.spec.partition, Partition::Custom(_)),
            RunState::Assembling => matches!(self.spec.assemble, Assemble::Custom(_)),
            RunState::Started
            | RunState::Fetching
            | RunState::Processed
            | RunState::Assembled
            | RunState::Delivering
            | RunState::Complete
            | RunState::Failed => false,
        }
    }
}
