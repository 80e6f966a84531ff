//! Traces of runs, for a collector that speaks OTLP: spans of runs, stages, tasks and attempts.
//!
//! A span is made when what it tells of has ended, from what the coordinator has just stored. Its
//! ids follow from names alone, so a parent need not have a span yet, nothing is remembered
//! between the two ends of a span, and a restart changes no id. Nothing of it holds up the
//! coordinator: what ended waits in a queue with a bound, and beyond that its spans are dropped and
//! counted. Without a collector in the configuration, nothing is made at all.
//!
//! Spans carry ids, names of packages and blocks, outcomes and prices; never params, secrets or
//! data. It uses the market's records and the store, and is the only user of OpenTelemetry.

mod cause;
mod ended;
mod export;
mod ids;
mod span;
mod spans;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::ids::RunId;
use common::market::{Changes, Market};
use opentelemetry_sdk::trace::Sampler;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::TracesConfig;
use crate::store::Db;
use ended::Ended;
pub use export::Error;
use export::Exporting;

/// What ended and waits to be sent, at about a kilobyte each.
const QUEUE_MAX: usize = 8_192;

/// Where the coordinator leaves what has ended.
pub struct Traces {
    sending: Option<Sending>,
}

struct Sending {
    queue: mpsc::Sender<Ended>,
    sampler: Sampler,
    /// Spans that nobody gets.
    lost: Arc<AtomicU64>,
}

impl Traces {
    /// Makes none.
    pub const fn off() -> Self {
        Self { sending: None }
    }

    /// Begins to send spans to the configured collector, where there is one. What is in the queue
    /// at `stop` is still sent, if that can be had within two seconds.
    pub fn start(
        config: &TracesConfig,
        db: &Db,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, Error> {
        let Some(url) = &config.otlp_endpoint.0 else { return Ok(Self::off()) };
        let exporter = export::exporter(url, config)?;
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let lost = Arc::<AtomicU64>::default();
        let exporting = Exporting::new(exporter, db.clone(), waiting, Arc::clone(&lost));
        tasks.spawn(exporting.run(stop.clone()));
        let sampler = ids::sampler(config.sample_ratio.0);
        Ok(Self { sending: Some(Sending { queue, sampler, lost }) })
    }

    /// Takes what has ended out of changes that are on disk, and whose other uses are over.
    pub fn tell(&self, changes: &mut Changes, market: &Market) {
        let Some(Sending { queue, sampler, lost }) = &self.sending else { return };
        let is_sampled = |run: RunId| ids::is_sampled(sampler, run);
        for ended in ended::take(changes, market, is_sampled) {
            if queue.try_send(ended).is_err() {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
