//! What a node counts and measures, for Prometheus, and the port on which it tells it where its
//! owner asks for one. The parts of the node tell it as they work. The only user of hyper in a
//! node, and of a port to listen on.

mod endpoint;
mod metered;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use common::compute::resources::{Resources, Usage};
use common::protocol::Outcome;
use instruments::{
    Builder, Counter, Description, Gauge, IntCounter, IntCounterVec, IntGauge, Registry, count,
    thousandths,
};
use tokio_util::sync::CancellationToken;

use crate::agent::slots::Slots;
use crate::attempt::{Tools, room};
pub use metered::Metered;

/// All metrics of one node.
#[derive(Debug)]
pub struct NodeMetrics {
    held: IntGauge,
    running: IntGauge,
    lent: Part,
    busy: Part,
    taken: IntCounter,
    ended: Ended,
    container_seconds: Counter,
    container_cpu_seconds: Counter,
    fetched: IntCounterVec,
    stored: IntCounter,
    syncs: Syncs,
    connected: IntGauge,
    engine_answers: IntGauge,
    disk: DiskGauges,
    registry: Registry,
}

/// A part of the machine.
#[derive(Debug)]
struct Part {
    cpus: Gauge,
    memory: IntGauge,
    gpus: IntGauge,
}

#[derive(Debug)]
struct Ended {
    succeeded: IntCounter,
    failed: IntCounter,
    node_fault: IntCounter,
    cancelled: IntCounter,
}

#[derive(Debug)]
struct Syncs {
    answered: IntCounter,
    failed: IntCounter,
    last: IntGauge,
}

#[derive(Debug, Clone)]
struct DiskGauges {
    budget: IntGauge,
    used: IntGauge,
    reserved: IntGauge,
    free: IntGauge,
    keep_free: IntGauge,
}

impl NodeMetrics {
    pub fn new() -> Arc<Self> {
        let mut builder = Builder::new("fanfold_node", env!("CARGO_PKG_VERSION"));
        let b = &mut builder;
        let held = b.gauge("fanfold_node_attempts", "Attempts that the node holds");
        let running = b.gauge(
            "fanfold_node_attempts_running",
            "Of these, attempts that have their share of the machine: the busy slots",
        );
        Arc::new(Self {
            held,
            running,
            lent: Part::new(b, "lent", "that the node lends"),
            busy: Part::new(b, "busy", "that running attempts have"),
            taken: b.counter("fanfold_node_attempts_taken_total", "Attempts that were taken"),
            ended: Ended::new(b),
            container_seconds: b.float_counter(
                "fanfold_node_container_seconds_total",
                "Time that containers ran, counted when they have ended",
            ),
            container_cpu_seconds: b.float_counter(
                "fanfold_node_container_cpu_seconds_total",
                "CPU time of containers, counted when they have ended",
            ),
            fetched: b.counters(
                "fanfold_node_fetched_bytes_total",
                "Bytes from the server, its bucket and customers' stores; images of registries \
                 are not counted",
                &["kind"],
            ),
            stored: b.counter("fanfold_node_stored_bytes_total", "Bytes of results stored"),
            syncs: Syncs::new(b),
            engine_answers: b.gauge(
                "fanfold_node_engine_answers",
                "1 while the container engine answers; else the node takes no task",
            ),
            connected: b.gauge(
                "fanfold_node_server_connected",
                "1 while there is a connection to the server",
            ),
            disk: DiskGauges::new(b),
            registry: builder.build(),
        })
    }

    /// New metrics, which are served until `stop` where there is an address to listen on.
    pub async fn served(
        listen: Option<SocketAddr>,
        stop: &CancellationToken,
    ) -> io::Result<Arc<Self>> {
        let metrics = Self::new();
        if let Some(address) = listen {
            let listener = endpoint::listen(address).await?;
            tokio::spawn(endpoint::serve(listener, Arc::clone(&metrics), stop.clone()));
        }
        Ok(metrics)
    }

    /// Every metric, for the documents.
    pub fn descriptions(&self) -> &[Description] {
        self.registry.descriptions()
    }

    /// An input of this many bytes has come with its assignment.
    pub fn fetched_with_assignments(&self, bytes: u64) {
        self.fetched.with_label_values(&["input"]).inc_by(bytes);
    }

    /// Results of this many bytes have come to the server with their receipts.
    pub fn stored_with_receipts(&self, bytes: u64) {
        self.stored.inc_by(bytes);
    }

    /// The text of a scrape.
    pub fn render(&self) -> String {
        self.registry.render()
    }

    /// What is read before each scrape: the disk, and whether server and engine are there.
    pub fn watch<R: Send + Sync + 'static>(
        &self,
        tools: Weak<Tools<R>>,
        is_connected: impl Fn() -> bool + Send + Sync + 'static,
    ) {
        let (disk, connected) = (self.disk.clone(), self.connected.clone());
        let engine_answers = self.engine_answers.clone();
        self.registry.before_scrape(move || {
            connected.set(is_connected().into());
            if let Some(tools) = tools.upgrade() {
                disk.note(&tools);
                engine_answers.set((!*tools.engine.is_away().borrow()).into());
            }
        });
    }

    /// What the node lends.
    pub fn lends(&self, capacity: Resources, gpus: usize) {
        self.lent.set(capacity, gpus);
    }

    /// What is held and runs now.
    pub fn slots(&self, slots: &Slots) {
        self.held.set(count(slots.len()));
        self.running.set(count(slots.running()));
        self.busy.set(slots.busy(), slots.busy_gpus());
    }

    pub fn taken(&self) {
        self.taken.inc();
    }

    /// An attempt is over; `None` where it was cancelled.
    pub fn ended(&self, outcome: Option<&Outcome>, usage: Usage) {
        let Ended { succeeded, failed, node_fault, cancelled } = &self.ended;
        match outcome {
            Some(Outcome::Succeeded { .. }) => succeeded.inc(),
            Some(Outcome::Failed { .. }) => failed.inc(),
            Some(Outcome::NodeFault { .. }) => node_fault.inc(),
            None => cancelled.inc(),
        }
        self.container_seconds.inc_by(thousandths(usage.wall_ms));
        self.container_cpu_seconds.inc_by(thousandths(usage.cpu_ms));
    }

    /// The server has answered a message, or has not.
    fn synced(&self, is_answered: bool) {
        let Syncs { answered, failed, last } = &self.syncs;
        if is_answered {
            answered.inc();
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            last.set(count(now.unwrap_or(Duration::ZERO).as_secs()));
        } else {
            failed.inc();
        }
    }
}

impl Part {
    fn new(builder: &mut Builder, name: &str, what: &str) -> Self {
        let named = |unit| format!("fanfold_node_{name}_{unit}");
        Self {
            cpus: builder.float_gauge(&named("cpus"), &format!("CPUs {what}")),
            memory: builder.gauge(&named("memory_bytes"), &format!("Memory {what}")),
            gpus: builder.gauge(&named("gpus"), &format!("GPUs {what}")),
        }
    }

    fn set(&self, resources: Resources, gpus: usize) {
        self.cpus.set(thousandths(resources.cpu_millis.into()));
        self.memory.set(i64::from(resources.memory_mib) << 20);
        self.gpus.set(count(gpus));
    }
}

impl Ended {
    fn new(builder: &mut Builder) -> Self {
        let outcomes = builder.counters(
            "fanfold_node_attempts_ended_total",
            "Attempts that are over: `succeeded`, `failed`, `node_fault` (the node could not run \
             it), `cancelled` (the task was reassigned, or its run has ended)",
            &["outcome"],
        );
        let of = |outcome| outcomes.with_label_values(&[outcome]);
        Self {
            succeeded: of("succeeded"),
            failed: of("failed"),
            node_fault: of("node_fault"),
            cancelled: of("cancelled"),
        }
    }
}

impl Syncs {
    fn new(builder: &mut Builder) -> Self {
        let results = builder.counters(
            "fanfold_node_syncs_total",
            "Messages to the server: `answered` or `failed`",
            &["result"],
        );
        Self {
            answered: results.with_label_values(&["answered"]),
            failed: results.with_label_values(&["failed"]),
            last: builder.gauge(
                "fanfold_node_last_sync_timestamp_seconds",
                "When the server last answered a message, in Unix time; 0 until it has",
            ),
        }
    }
}

impl DiskGauges {
    fn new(builder: &mut Builder) -> Self {
        let mut gauge = |name: &str, help: &str| {
            builder.gauge(&format!("fanfold_node_disk_{name}_bytes"), help)
        };
        Self {
            budget: gauge("budget", "Disk that the node may take"),
            used: gauge("used", "Disk that the node has taken, as it was counted last"),
            reserved: gauge("reserved", "Disk that is kept between tasks or reserved for tasks"),
            free: gauge("free", "What is free on the file system"),
            keep_free: gauge("keep_free", "What the owner keeps free on the file system"),
        }
    }

    fn note<R>(&self, tools: &Tools<R>) {
        let (limits, kept) = (tools.disk.limits(), room::kept(tools));
        self.budget.set(count(limits.budget));
        self.used.set(count(tools.disk.used().saturating_add(kept)));
        self.reserved.set(count(tools.disk.reserved().saturating_add(kept)));
        self.free.set(count(tools.disk.free()));
        self.keep_free.set(count(limits.keep_free));
    }
}
