//! Nodes, as the hub sees them.

use instruments::{Builder, IntCounter, IntGauge, count};

#[derive(Debug)]
pub struct NodesMetrics {
    connected: IntGauge,
    answered: IntCounter,
    refused: IntCounter,
    unanswered: IntCounter,
}

impl NodesMetrics {
    pub(super) fn new(builder: &mut Builder) -> Self {
        let connected =
            builder.gauge("fanfold_nodes_connected", "Nodes that have a connection to the server");
        let syncs = builder.counters(
            "fanfold_syncs_total",
            "Messages of nodes: `answered`, `refused` (the sender is no node), `unanswered` (the \
             database is away, or the server stops)",
            &["result"],
        );
        Self {
            connected,
            answered: syncs.with_label_values(&["answered"]),
            refused: syncs.with_label_values(&["refused"]),
            unanswered: syncs.with_label_values(&["unanswered"]),
        }
    }

    pub fn connected(&self, nodes: usize) {
        self.connected.set(count(nodes));
    }

    pub fn answered(&self) {
        self.answered.inc();
    }

    pub fn refused(&self) {
        self.refused.inc();
    }

    pub fn unanswered(&self) {
        self.unanswered.inc();
    }
}
