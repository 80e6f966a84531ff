//! A message to the server, and what its answer changes.

use std::sync::Arc;

use common::error_chain::chain;
use common::protocol::{Held, Orders, Probe, RECEIPTS_BYTES_MAX, Sync};
use common::run::task::Lease;
use tokio::time::Instant;

use super::pause::Reply;
use super::{Agent, NotJoined};
use crate::attempt;
use crate::link;
use crate::runtime::docker::now_us;
use crate::server_client::ServerClient;

/// How long the server may hold an answer back: the messages of a node at work tell how far it is.
const WAIT_MS: u32 = 5_000;
/// The same while the node holds nothing.
pub const IDLE_WAIT_MS: u32 = 20_000;
/// What a receipt costs in a message beside its bytes.
const RECEIPT_OVERHEAD: usize = 128;

/// What a message carried.
#[derive(Debug)]
pub(super) struct Sent {
    at: Instant,
    /// It had receipts, so that the server does not keep its answer back.
    is_urgent: bool,
    /// The end of each log in it.
    logs: Vec<(Lease, u32)>,
    /// The result of a probe.
    probed: bool,
    /// The samples in it.
    sampled: Vec<(i64, Lease)>,
}

impl<R: ServerClient> Agent<R> {
    /// Everything there is to say now, within the limits of one message.
    pub(super) fn message(&mut self) -> (Sync, Sent) {
        self.receipts.sign(|bytes| self.tools.remote.sign(bytes));
        // What an attempt wrote comes with its receipt or before it, whichever message is lost.
        self.receipts.signed().iter().for_each(|(lease, _)| self.tools.logs.again(lease));
        let logs = self.tools.logs.batches();
        let mut holding = self.slots.held(self.now_ms(), *self.bucket_away.borrow_and_update());
        for held in &mut holding {
            held.progress = self.tools.progress.of(held.lease);
        }
        let (mut receipts, mut bytes) = (Vec::new(), 0);
        for (lease, receipt) in self.receipts.signed() {
            bytes += receipt.receipt.len() + receipt.signature.len() + RECEIPT_OVERHEAD;
            bytes += receipt.contents.bytes();
            // A large one goes alone.
            let fits = bytes <= RECEIPTS_BYTES_MAX || receipts.is_empty();
            if fits && !self.tools.logs.has_unsent(lease) {
                receipts.push(receipt.clone());
            } else {
                let (running_ms, waits_for_bucket, progress) = (None, false, None);
                let held = Held { lease: *lease, running_ms, waits_for_bucket, progress };
                holding.push(held);
            }
        }
        let more = receipts.len() < self.receipts.signed().len() || self.tools.logs.any_unsent();
        (self.urgent, self.pending, self.started_at) = (false, false, None);
        let probed = matches!(self.probe, Some(Probe::Passed | Probe::Failed { .. }));
        let samples = self.tools.engine.samples().settled(now_us());
        let sampled = samples.iter().map(|sample| (sample.at_us, sample.lease)).collect();
        let sent = Sent {
            at: Instant::now(),
            is_urgent: !receipts.is_empty(),
            logs: logs.iter().map(|batch| (batch.lease, batch.end())).collect(),
            probed,
            sampled,
        };
        self.number += 1;
        // With more to say, the answer should not keep us waiting.
        let wait_ms = match (more, holding.is_empty()) {
            (true, _) => 0,
            (false, false) => WAIT_MS,
            (false, true) => IDLE_WAIT_MS,
        };
        let message = Sync {
            incarnation: self.incarnation,
            number: self.number,
            token: self.lending.token.clone(),
            capacity: self.lending.capacity.with_disk(attempt::disk_mib(&self.tools)),
            engine_away: *self.engine_away.borrow_and_update(),
            prefetch: self.ahead.tasks(Instant::now()),
            device: self.lending.device.clone(),
            holding,
            receipts,
            logs,
            samples,
            probe: self.probe.clone(),
            wait_ms,
        };
        (message, sent)
    }

    /// Takes in what the server answered.
    pub(super) fn apply_orders(
        &mut self,
        answer: Result<Orders, link::Error>,
        sent: &Sent,
    ) -> Result<Reply, NotJoined> {
        match answer {
            Ok(Orders::Work { works, assign, cancel, settled, logged, probe }) => {
                if !self.joined {
                    self.joined = true;
                    tracing::info!(label = self.lending.device.label, "joined the server");
                }
                if sent.is_urgent {
                    self.ahead.answered(sent.at.elapsed());
                }
                if sent.probed {
                    self.probe = None;
                }
                if probe {
                    self.start_probe();
                }
                self.tools.engine.samples().sent(&sent.sampled);
                for (lease, end) in logged {
                    self.tools.logs.confirmed(lease, end);
                }
                // What is not safe yet goes once more.
                sent.logs.iter().for_each(|(lease, end)| self.tools.logs.again_below(lease, *end));
                let repeated = cancel.iter().filter(|lease| !self.cancel(lease)).count();
                let no_change = repeated > 0
                    && repeated == cancel.len()
                    && settled.is_empty()
                    && assign.is_empty();
                settled.iter().for_each(|lease| self.settle(*lease));
                let works: Vec<_> = works.into_iter().map(Arc::new).collect();
                assign.into_iter().for_each(|assignment| self.assign(assignment, &works));
                Ok(if no_change { Reply::NoChange } else { Reply::Orders })
            }
            Ok(Orders::Refused(why)) => {
                self.tools.logs.failed();
                Err(NotJoined(why))
            }
            Err(error) => {
                // Of a connection that is missing the link speaks.
                if !matches!(error, link::Error::Disconnected) {
                    tracing::warn!(
                        error = %chain(&error),
                        "sync failed; running attempts continue"
                    );
                }
                self.tools.logs.failed();
                Ok(Reply::Nothing)
            }
        }
    }
}
