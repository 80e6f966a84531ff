//! Answers messages: checks who sends one and whether it is true, and passes it to the coordinator.

use std::sync::Arc;

use common::error_chain::chain;
use common::ids::NodeId;
use common::protocol::{
    Contents, LOGS_BYTES_MAX, Orders, Outcome, Probe, Receipt, SignedReceipt, Sync,
};
use libp2p::PeerId;

use super::signatures::Opener;
use super::{receipts, sanitize, small_inputs};
use crate::coordinator::{self, CheckedSync};
use crate::metrics::{Metrics, TransferKind};
use crate::p2p::admission::Network;
use crate::p2p::backend::Port;
use crate::p2p::blob::damage::Damage;
use crate::p2p::blob::known_results::Stored;
use crate::p2p::peers::Peers;

/// The longest that an answer is held back: well below the node's patience.
const WAIT_MS_MAX: u32 = 30_000;
/// What the owner of a node is told that is no longer known.
const REMOVED: &str = "it was removed from its workspace: to join again, start it with a new token \
                       and another --data-dir";
/// Signatures checked between two looks at what else there is to do.
const SIGNATURES_AT_ONCE: usize = 16;
/// The most bytes of what a node says about a failed probe.
const PROBE_BYTES_MAX: usize = 512;
/// The year 2100, in microseconds since 1970: no clock that is worth a log line is beyond.
const AT_US_MAX: i64 = 4_102_444_800_000_000;

#[derive(Clone)]
pub struct SyncHandler<P> {
    pub port: P,
    pub peers: Peers<P>,
    pub stored: Stored,
    pub damage: Damage,
    pub metrics: Arc<Metrics>,
}

impl<P: Port> SyncHandler<P> {
    /// Which node says this, or what it is told instead of orders. `None` where that cannot be
    /// looked up now.
    pub async fn identify(
        &self,
        peer: PeerId,
        from: Network,
        sync: &Sync,
    ) -> Option<Result<NodeId, Orders>> {
        match self.peers.find_or_join(peer, from, sync.token.as_deref()).await {
            Ok(Some(node)) => Some(Ok(node)),
            Ok(None) => {
                self.metrics.nodes.refused();
                Some(Err(Orders::Refused(refusal(sync.token.is_some()))))
            }
            Err(error) => {
                self.metrics.nodes.unanswered();
                tracing::error!(%peer, error = %chain(&error), "node not looked up");
                None
            }
        }
    }

    /// The answer to a node's message, or `None` where the server has none to give now: the node's
    /// next message says everything again.
    pub async fn answer(&self, peer: PeerId, node: NodeId, mut sync: Sync) -> Option<Orders> {
        // It has done its work, and must not go where messages are logged or kept.
        sync.token = None;
        sync.wait_ms = sync.wait_ms.min(WAIT_MS_MAX);
        tidy_logs(&mut sync);
        sync.device = sync.device.tidied();
        tidy_probe(node, &mut sync);
        let receipts = std::mem::take(&mut sync.receipts);
        let receipts = self.check(peer, node, receipts).await;
        // Before what else the message says: so lines of an attempt are there when it has ended.
        let logs = std::mem::take(&mut sync.logs);
        let stored = if logs.is_empty() { vec![] } else { self.port.store_lines(node, logs).await };
        match self.port.sync(node, CheckedSync { sync, receipts }).await {
            Ok(mut orders) => {
                self.metrics.nodes.answered();
                if let Orders::Work { logged, .. } = &mut orders {
                    *logged = stored;
                }
                let passed = small_inputs::add(&self.port, node, &mut orders).await;
                self.metrics.transfers.count(TransferKind::NodeInput, passed);
                Some(orders)
            }
            Err(coordinator::Error::NoNode) => {
                self.metrics.nodes.refused();
                self.peers.forget(peer);
                Some(Orders::Refused(REMOVED.to_owned()))
            }
            Err(error) => {
                self.metrics.nodes.unanswered();
                tracing::debug!(%node, error = %chain(&error), "message not answered");
                None
            }
        }
    }

    /// The receipts that are well signed, each judged.
    async fn check(
        &self,
        peer: PeerId,
        node: NodeId,
        signed: Vec<SignedReceipt>,
    ) -> Vec<(Receipt, SignedReceipt)> {
        let mut checked = Vec::with_capacity(signed.len());
        let mut opener = match Opener::of(&peer) {
            Ok(opener) => opener,
            Err(error) => {
                tracing::warn!(%peer, %node, error = %chain(&error), "receipts dropped");
                return checked;
            }
        };
        for (n, mut signed) in signed.into_iter().enumerate() {
            if n % SIGNATURES_AT_ONCE == SIGNATURES_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            let receipt = match opener.open(&signed) {
                Ok(receipt) => receipt,
                Err(error) => {
                    self.metrics.coordinator.invalid_receipt();
                    tracing::warn!(%peer, %node, error = %chain(&error), "receipt dropped");
                    continue;
                }
            };
            let lease = receipt.lease;
            let (known, contents) = ((&self.stored, &self.damage), &signed.contents);
            match receipts::judge(&self.port, known, node, receipt, contents).await {
                Ok(receipt) => {
                    let passed = signed.contents.bytes() as u64;
                    self.metrics.transfers.count(TransferKind::NodeResult, passed);
                    if !matches!(receipt.outcome, Outcome::Succeeded { .. }) {
                        signed.contents = Contents::default();
                    }
                    checked.push((receipt, signed));
                }
                Err(error) => {
                    tracing::warn!(%node, %lease, error = %chain(&error), "receipt not judged yet");
                }
            }
        }
        checked
    }
}

/// Tells the node's owner what to do.
fn refusal(had_token: bool) -> String {
    let why = if had_token {
        "this node has not joined, and its token is unknown, used or more than an hour old"
    } else {
        "this node has not joined, and brought no token"
    };
    format!("{why}: make a new token in the operator's workspace and start the node with --token")
}

/// Logs why a probe failed, which is all that the message is for.
fn tidy_probe(node: NodeId, sync: &mut Sync) {
    if let Some(Probe::Failed { message }) = &mut sync.probe {
        let message = sanitize::tidy(&std::mem::take(message), PROBE_BYTES_MAX);
        tracing::warn!(%node, error = message, "the node's probe failed");
    }
}

/// Keeps the log lines of a message within their limit and fit for the database.
fn tidy_logs(sync: &mut Sync) {
    let mut left = LOGS_BYTES_MAX;
    for batch in &mut sync.logs {
        for line in &mut batch.lines {
            line.text = sanitize::tidy(&line.text, left);
            line.at_us = line.at_us.clamp(0, AT_US_MAX);
            left -= line.text.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use common::ids::RunId;
    use common::protocol::{Level, LogBatch, LogLine, Stream};
    use common::run::task::{Lease, TaskRef};
    use common::testing::{self, PROCESS};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn logs_are_cut_at_their_limit() {
        let task = TaskRef { run: RunId::new(Uuid::from_u128(7)), stage: PROCESS, index: 0 };
        let line = |text: &str, at_us| LogLine {
            at_us,
            level: Level::Unknown,
            stream: Stream::Out,
            text: text.to_owned(),
        };
        let lines =
            vec![line("a\0", -1), line(&"x".repeat(LOGS_BYTES_MAX), i64::MAX), line("y", 5)];
        let logs = vec![LogBatch { lease: Lease { task, attempt: 1 }, first: 0, lines }];
        let mut sync = Sync { logs, ..testing::sync() };

        tidy_logs(&mut sync);

        let rest = "x".repeat(LOGS_BYTES_MAX - 1);
        assert_eq!(sync.logs[0].lines, [line("a", 0), line(&rest, AT_US_MAX), line("", 5)]);
    }
}
