//! The sync loop: says what the node holds and what has ended, does what the server orders.
//!
//! One task owns the state; attempts are tasks of their own that report to it. Every message is a
//! whole statement, so a lost one costs time and nothing else.

mod ahead;
mod exchange;
mod pause;
mod receipts;
pub mod slots;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use common::compute::device::Device;
use common::compute::resources::{Resources, Usage};
use common::error_chain::chain;
use common::protocol::{Assignment, Contents, Outcome, Probe, Receipt, UnsignedReceipt, Work};
use common::run::task::Lease;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::agent::slots::{Needs, Refused, Slots};
use crate::attempt::{self, Attempt, Event, Tools};
use crate::machine::device::Gpu;
use crate::server_client::ServerClient;
pub use ahead::Ahead;
pub use exchange::IDLE_WAIT_MS;
use pause::Pause;
use receipts::Receipts;

/// One that the server holds, and one that cannot wait for it.
const IN_FLIGHT_MAX: usize = 2;
/// Settled attempts that are remembered, against orders that were under way at the time.
const SETTLED_MAX: usize = 4096;
/// How long a task runs until the server is told that it does: one that is shorter is told of with
/// its receipt, which would else wait until the message before it is answered.
const SHORT: Duration = Duration::from_millis(50);
/// How long containers may take to be gone when the node stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(20);
/// How long a probe of the engine may take.
const PROBE_MAX: Duration = Duration::from_secs(30);

/// What the owner lends.
#[derive(Debug, Clone)]
pub struct Lending {
    pub token: Option<String>,
    pub capacity: Resources,
    /// Tasks that it holds ahead, however long they take.
    pub prefetch: u32,
    pub device: Device,
    pub gpus: Vec<Gpu>,
}

/// The server does not know this node and takes no token of its; the text says what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server refuses this node: {0}")]
pub struct NotJoined(pub String);

/// Runs until stopped or refused; then kills what runs and waits until it is gone.
pub async fn run<R: ServerClient>(
    lending: Lending,
    tools: Arc<Tools<R>>,
    stop: CancellationToken,
) -> Result<(), NotJoined> {
    let (sender, mut events) = mpsc::channel(256);
    let mut agent = Agent::new(lending, tools, sender);
    let mut in_flight = FuturesUnordered::new();
    let mut pause = Pause::new();
    agent.tools.metrics.lends(agent.lending.capacity, agent.lending.gpus.len());
    let end = loop {
        agent.tools.metrics.slots(&agent.slots);
        let idle = in_flight.is_empty();
        // Asked once: were it over only by the time of the wait, nothing would end the wait.
        let until = pause.until(agent.receipts_can_wait());
        let over = Instant::now() >= until;
        if over && (idle || (agent.urgent && in_flight.len() < IN_FLIGHT_MAX)) {
            let (message, sent) = agent.message();
            let remote = agent.tools.remote.clone();
            in_flight.push(async move { (remote.sync(message).await, sent) });
            pause.sent();
            continue;
        }
        let logs = agent.tools.logs.clone();
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            Some(event) = events.recv() => agent.on_attempt_event(event),
            Some(ended) = agent.attempts.join_next_with_id() => agent.reap(ended),
            Some(probed) = agent.probes.join_next() => agent.probed(probed),
            Some((answer, sent)) = in_flight.next() => match agent.apply_orders(answer, &sent) {
                Ok(reply) => pause.after(reply),
                Err(refused) => break Err(refused),
            },
            Ok(()) = agent.bucket_away.changed() => agent.urgent = true,
            Ok(()) = agent.engine_away.changed() => agent.urgent = true,
            () = sleep_until(until), if !over => {}
            () = logs.written(), if !agent.urgent && !agent.pending => agent.pending = true,
            () = reached(agent.started_at), if !agent.urgent => agent.urgent = true,
            () = sleep_until(pause.company()), if agent.pending && !agent.urgent => {
                (agent.urgent, agent.pending) = (true, false);
            }
        }
    };
    drop((in_flight, events));
    agent.shutdown().await;
    end
}

/// Waits for a time, or without end where no time is given.
async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The receipt of an attempt whose container never ran, or was lost.
fn without_usage(lease: Lease, outcome: Outcome) -> UnsignedReceipt {
    UnsignedReceipt::new(&Receipt { lease, usage: Usage::default(), outcome }, Contents::default())
}

struct Agent<R> {
    lending: Lending,
    incarnation: u64,
    /// Of the newest message.
    number: u64,
    started: Instant,
    tools: Arc<Tools<R>>,
    events: mpsc::Sender<Event>,
    slots: Slots,
    ahead: Ahead,
    /// Attempts that wait for their share of the machine.
    waiting: HashMap<Lease, oneshot::Sender<Option<Gpu>>>,
    cancels: HashMap<Lease, CancellationToken>,
    attempts: JoinSet<(Lease, Option<UnsignedReceipt>)>,
    leases: HashMap<tokio::task::Id, Lease>,
    receipts: Receipts,
    settled: VecDeque<Lease>,
    /// How the probe stands that the server asked for.
    probe: Option<Probe>,
    /// At most one.
    probes: JoinSet<Probe>,
    /// Whether the server's bucket was away when it was needed last.
    bucket_away: watch::Receiver<bool>,
    /// The same of the container engine.
    engine_away: watch::Receiver<bool>,
    /// Something should be said without waiting for the answer that the server holds.
    urgent: bool,
    /// There is something to say that can wait for company, and nothing that is more urgent.
    pending: bool,
    /// When the server is told of tasks that have started.
    started_at: Option<Instant>,
    /// The server has taken this process's word once.
    joined: bool,
}

impl<R: ServerClient> Agent<R> {
    fn new(lending: Lending, tools: Arc<Tools<R>>, events: mpsc::Sender<Event>) -> Self {
        Self {
            // Each attempt asks for its disk by itself, once it knows how large its input is.
            slots: Slots::new(lending.capacity.with_disk(u32::MAX), lending.gpus.clone()),
            ahead: Ahead::new(lending.prefetch),
            lending,
            bucket_away: tools.remote.is_bucket_away(),
            engine_away: tools.engine.is_away(),
            incarnation: rand::random(),
            number: 0,
            started: Instant::now(),
            tools,
            events,
            waiting: HashMap::new(),
            cancels: HashMap::new(),
            attempts: JoinSet::new(),
            leases: HashMap::new(),
            receipts: Receipts::default(),
            settled: VecDeque::new(),
            probe: None,
            probes: JoinSet::new(),
            urgent: false,
            pending: false,
            started_at: None,
            joined: false,
        }
    }

    /// Checks the engine, unless that is under way.
    fn start_probe(&mut self) {
        if self.probe.is_some() {
            return;
        }
        tracing::info!("the server asks for a probe of this node");
        self.probe = Some(Probe::Running);
        self.urgent = true;
        let tools = Arc::clone(&self.tools);
        self.probes.spawn(async move {
            let temporary = tools.data_dir.temporary();
            match timeout(PROBE_MAX, tools.engine.probe(&temporary)).await {
                Ok(Ok(())) => Probe::Passed,
                Ok(Err(error)) => Probe::Failed { message: error.to_string() },
                Err(_) => Probe::Failed { message: format!("no answer within {PROBE_MAX:?}") },
            }
        });
    }

    fn probed(&mut self, probed: Result<Probe, tokio::task::JoinError>) {
        let probe = probed.unwrap_or_else(|error| Probe::Failed { message: error.to_string() });
        match &probe {
            Probe::Failed { message } => tracing::error!(error = message, "the probe failed"),
            Probe::Passed | Probe::Running => tracing::info!("the probe passed"),
        }
        self.probe = Some(probe);
        self.urgent = true;
    }

    fn assign(&mut self, assignment: Assignment, works: &[Arc<Work>]) {
        let Assignment { lease, gpu, inputs, environment } = assignment;
        let known = self.receipts.has(&lease) || self.settled.contains(&lease);
        let work =
            works.iter().find(|work| work.run == lease.task.run && work.stage == lease.task.stage);
        let (false, Some(work)) = (known, work) else { return };
        match self.slots.add(lease, Needs { resources: work.needs, gpu: gpu.clone() }) {
            Ok(()) => {}
            Err(Refused::Held) => return,
            Err(refused) => return self.decline(lease, refused),
        }
        self.tools.metrics.taken();
        let stop = CancellationToken::new();
        self.cancels.insert(lease, stop.clone());
        let attempt = Attempt { lease, work: Arc::clone(work), gpu, inputs, environment };
        let (tools, events) = (Arc::clone(&self.tools), self.events.clone());
        let task = lease.task;
        let span = tracing::error_span!(
            "attempt",
            run = %task.run,
            stage = %task.stage,
            task = %task.id(),
            attempt = lease.attempt
        );
        let running = async move { (lease, attempt::run(attempt, tools, events, stop).await) };
        let handle = self.attempts.spawn(running.instrument(span));
        self.leases.insert(handle.id(), lease);
    }

    /// Gives an attempt back at once.
    fn decline(&mut self, lease: Lease, refused: Refused) {
        tracing::warn!(%lease, error = %chain(&refused), "assignment declined");
        let outcome = match refused {
            Refused::TooLarge | Refused::Full | Refused::Held => {
                Outcome::NodeFault { message: refused.to_string() }
            }
        };
        self.receipts.add(lease, without_usage(lease, outcome));
        self.urgent = true;
    }

    /// The attempt is no longer the node's. Gives whether that is news.
    fn cancel(&mut self, lease: &Lease) -> bool {
        let known = self.cancels.get(lease).is_some_and(CancellationToken::is_cancelled);
        if let Some(stop) = self.cancels.get(lease).filter(|_| !known) {
            tracing::info!(%lease, "attempt dropped: its task was reassigned, or its job has ended");
            stop.cancel();
        }
        self.receipts.cancel(lease);
        self.tools.logs.forget(lease);
        !known
    }

    fn settle(&mut self, lease: Lease) {
        let small = self.receipts.settle(&lease);
        self.tools.metrics.stored_with_receipts(small as u64);
        self.tools.logs.ended(&lease);
        if self.settled.len() == SETTLED_MAX {
            self.settled.pop_front();
        }
        self.settled.push_back(lease);
    }

    fn on_attempt_event(&mut self, event: Event) {
        let now_ms = self.now_ms();
        match event {
            Event::Prepared { lease, admission } => {
                self.slots.prepared(&lease);
                self.waiting.insert(lease, admission);
                self.admit();
            }
            Event::Started(lease) => {
                self.slots.started(&lease, now_ms);
                let now = Instant::now();
                match self.ahead.is_busy(now) {
                    true => self.pending = true,
                    false => drop(self.started_at.get_or_insert(now + SHORT)),
                }
            }
            Event::Ended(lease) => {
                self.slots.ended(&lease, now_ms);
                self.ahead.ended(Instant::now());
                self.admit();
            }
        }
    }

    /// Takes in an attempt that is over.
    fn reap(
        &mut self,
        ended: Result<(tokio::task::Id, (Lease, Option<UnsignedReceipt>)), tokio::task::JoinError>,
    ) {
        let (id, receipt) = match ended {
            Ok((id, (_, receipt))) => (id, receipt),
            Err(error) => {
                tracing::error!(error = %chain(&error), "an attempt panicked");
                (error.id(), None)
            }
        };
        let Some(lease) = self.leases.remove(&id) else { return };
        let cancelled = self.cancels.remove(&lease).is_none_or(|stop| stop.is_cancelled());
        self.slots.remove(&lease);
        self.waiting.remove(&lease);
        if cancelled {
            self.tools.logs.forget(&lease);
        } else {
            let receipt = receipt.unwrap_or_else(|| {
                let message = "the node's agent failed".to_owned();
                without_usage(lease, Outcome::NodeFault { message })
            });
            self.receipts.add(lease, receipt);
        }
        self.urgent = true;
        self.admit();
    }

    fn admit(&mut self) {
        for admission in self.slots.admit() {
            if let Some(waiting) = self.waiting.remove(&admission.lease) {
                // One that was cancelled meanwhile gives its share back when it is reaped.
                let _ = waiting.send(admission.gpu);
            }
        }
    }

    /// Whether short tasks end one after the other, with others here to run meanwhile.
    fn receipts_can_wait(&mut self) -> bool {
        self.slots.has_ready() && self.ahead.is_busy(Instant::now())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Stops all attempts and waits until their containers are gone.
    async fn shutdown(mut self) {
        self.cancels.values().for_each(CancellationToken::cancel);
        let gone = async { while self.attempts.join_next().await.is_some() {} };
        if timeout(SHUTDOWN_GRACE, gone).await.is_err() {
            tracing::warn!(
                "containers still exist after the grace period; they are removed at the next start"
            );
        }
        self.tools.warm.close().await;
    }
}

#[cfg(test)]
mod tests;
