//! What the metrics ask before each scrape.

use tokio::sync::mpsc;

use super::Command;
use super::leases::Leases;
use crate::metrics::Metrics;

/// Lets the metrics see the queue of commands and the leases in force.
pub(super) fn add(metrics: &Metrics, commands: &mpsc::Sender<Command>, leases: &Leases) {
    // Weak, so that the metrics do not keep the queue open.
    let (queue, leases) = (commands.downgrade(), leases.clone());
    let waiting = metrics.coordinator.commands_waiting.clone();
    let in_force = metrics.coordinator.leases.clone();
    metrics.before_scrape(move || {
        let commands = queue.upgrade().map_or(0, |queue| queue.max_capacity() - queue.capacity());
        waiting.set(instruments::count(commands));
        in_force.set(instruments::count(leases.len()));
    });
}
