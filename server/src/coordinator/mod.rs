//! The only writer of runs, tasks, nodes' leases and money.
//!
//! One task drains a queue of commands, applies them to the market in memory, commits everything
//! that changed in one transaction, and only then answers and acts.

mod batch_log;
mod bookings;
mod calls;
mod caps;
mod error;
mod event_loop;
mod gauges;
mod jobs;
pub mod leases;
mod questions;
mod queues;
mod schedules;
mod steps;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod turns;
mod watch;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bookings::Posting;
pub use bookings::{Booking, Refused as BookingRefused};
use caps::CapCommand;
pub use caps::CapView;
use common::call::Report as CallReport;
use common::ids::{NodeId, RunId, WorkspaceId};
pub use common::market::{
    CallLimit, CheckedSync, Idle, Live, NodeView, Obstacles, Policy, Progress, SomeNodes,
    UnderLease, Waiting,
};
use common::market::{Fault, Market, Refused, Resolution};
use common::money::credits::Credits;
use common::protocol::Orders;
use common::run::cause::Cause;
use common::run::spec::RunSpec;
use common::run::task::{Lease, StageNo};
use common::schedule::Schedule;
use jobs::Again;
pub use jobs::ReadJob;
use queues::QueueCommand;
pub use queues::{QueueView, QueueViews};
pub use schedules::{Fire, Fires};
use tokio::sync::{OwnedMutexGuard, broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::Span;
pub use turns::{Hindrance, Kind as PlaceKind};
pub use watch::{Change, EventId, RunEvent, StoredLines};

use crate::clock;
use crate::data::Data;
use crate::expressions::Evaluator;
use crate::metrics::Metrics;
use crate::startup::last_batch::LastBatch;
use crate::store;
use crate::store::jobs::{CreatedJob, JobLock, JobLocks, StartedJob};
use crate::store::people::workspaces;
use crate::store::{Db, nodes};
use crate::traces::Traces;
pub use error::Error;
use event_loop::Engine;
use leases::Leases;
use steps::StepNews;
use turns::Turns;
use watch::Watch;

/// Commands that may wait for the coordinator; beyond that, senders wait.
const QUEUE_MAX: usize = 4_096;

/// How long a caller waits for an answer; only a database that is away keeps it waiting.
const ANSWER: Duration = Duration::from_secs(10);

/// A cheap handle; clones speak to the same coordinator.
#[derive(Clone)]
pub struct Coordinator {
    commands: mpsc::Sender<Command>,
    watch: Watch,
    turns: Turns,
    db: Db,
    job_locks: JobLocks,
    /// Held from when a booking's tables are read until it is on disk.
    booking_turn: Arc<tokio::sync::Mutex<()>>,
    /// Held while a queue is changed, in the tables and then in the market.
    queue_turn: Arc<tokio::sync::Mutex<()>>,
    /// Whether commits wait because the disk is full.
    disk_full: Arc<AtomicBool>,
    evaluator: Evaluator,
    /// The time without a word after which a node is silent, in milliseconds.
    lease_ms: u32,
    task_timeout_secs: u32,
    reserved_secs: u32,
    /// Whose each node is, until it is removed.
    operators: Arc<Mutex<HashMap<NodeId, WorkspaceId>>>,
}

type Reply<T> = oneshot::Sender<T>;
type BookingTurn = OwnedMutexGuard<()>;

/// Some tasks of a stage, by their indexes.
pub struct Tasks {
    pub run: RunId,
    pub stage: StageNo,
    pub indexes: RangeInclusive<u32>,
}

/// Everything that can happen: one place shows it all. What depends on more than the market's
/// memory was read before, and brings the lock that keeps it true until the batch is on disk.
enum Command {
    /// Stores a new job.
    Create {
        job: Box<CreatedJob>,
        /// Of an id that others may choose, too.
        lock: Option<JobLock>,
        reply: Reply<Result<(), Refused>>,
    },
    /// Starts a job: its row, its run and the run's hold are stored together, or not at all.
    Start {
        run: RunId,
        spec: Arc<RunSpec>,
        job: Box<StartedJob>,
        lock: JobLock,
        /// The span of the request that asked for it.
        request: Span,
        reply: Reply<Result<(), Refused>>,
    },
    /// Takes up a run that has ended, as it was stored.
    Again {
        again: Again,
        lock: JobLock,
        reply: Reply<Result<(), Refused>>,
    },
    PutSchedule {
        schedule: Box<Schedule>,
        lock: JobLock,
        reply: Reply<Result<(), Refused>>,
    },
    /// A schedule is due: what is stored of it, and what a run of its job is.
    Fired {
        schedule: Box<Schedule>,
        order: Box<Result<RunSpec, String>>,
        lock: JobLock,
    },
    Cancel {
        run: RunId,
        reason: String,
        reply: Reply<Result<(), Refused>>,
    },
    BreakOff {
        run: RunId,
        cause: Cause,
        reply: Reply<Result<(), Refused>>,
    },
    Sync {
        node: NodeId,
        operator: WorkspaceId,
        heard: Box<CheckedSync>,
        reply: Reply<Orders>,
    },
    Book {
        posting: Box<Posting>,
        turn: BookingTurn,
        reply: Reply<Result<(), BookingRefused>>,
    },
    Trust {
        owner: WorkspaceId,
    },
    Waiting {
        run: RunId,
        reply: Reply<Option<Waiting>>,
    },
    Nodes {
        nodes: Vec<NodeId>,
        reply: Reply<Vec<NodeView>>,
    },
    RemoveNode {
        node: NodeId,
        reply: Reply<()>,
    },
    Queue(QueueCommand),
    Cap(CapCommand),
    UnderLease {
        tasks: Tasks,
        reply: Reply<Vec<UnderLease>>,
    },
    Step(StepNews),
    /// The expressions of a stage have been evaluated.
    Resolved {
        run: RunId,
        stage: StageNo,
        answer: Box<Result<Resolution, Fault>>,
    },
    /// An attempt of a call has ended.
    CallEnded {
        lease: Lease,
        report: CallReport,
    },
}

impl Coordinator {
    /// Loads what is unfinished and goes on with it. The future runs until `stop`, or until the
    /// database refuses what must be stored; after that, only a restart helps.
    pub async fn start(
        db: Db,
        data: Data,
        policy: Policy,
        last_batch: LastBatch,
        metrics: Arc<Metrics>,
        traces: Traces,
        stop: CancellationToken,
    ) -> Result<(Self, Leases, Fires, impl Future<Output = Result<(), Error>> + Send), Error> {
        let stored = store::load(&db).await?;
        let market = Market::load(policy, stored, clock::now());
        let batch = store::market::batch_number::last(&db).await?;
        let (commands, queue) = mpsc::channel(QUEUE_MAX);
        let (due, fires) = mpsc::channel(schedules::FIRES_MAX);
        let (disk_full, evaluator) = (Arc::<AtomicBool>::default(), Evaluator::default());
        let (watch, leases, turns) = (Watch::new(), Leases::default(), Turns::new());
        gauges::add(&metrics, &commands, &leases);
        let mut engine = Engine::new(
            market,
            batch,
            event_loop::Parts {
                db: db.clone(),
                leases: leases.clone(),
                watch: watch.clone(),
                calls: calls::Calls::new(&data, evaluator.clone(), commands.downgrade()),
                questions: questions::Questions::new(evaluator.clone(), commands.downgrade()),
                steps: steps::Steps::new(db.clone(), data, commands.downgrade(), turns.clone()),
                fires: due,
                last_batch,
                traces,
                disk_full: disk_full.clone(),
                metrics,
                stop,
            },
        );
        engine.resume().await?;
        leases.forget_logs();
        let lease_ms = u32::try_from(policy.lease.num_milliseconds()).unwrap_or(u32::MAX);
        let coordinator = Self {
            commands,
            watch,
            turns,
            db,
            job_locks: JobLocks::new(),
            booking_turn: Arc::default(),
            queue_turn: Arc::default(),
            disk_full,
            evaluator,
            lease_ms,
            task_timeout_secs: policy.task_timeout_secs,
            reserved_secs: u32::try_from(policy.estimate.num_seconds()).unwrap_or(u32::MAX),
            operators: Arc::default(),
        };
        Ok((coordinator, leases, fires, engine.run(queue)))
    }

    /// Ends a run because its customer wants it.
    pub async fn cancel_run(&self, run: RunId, reason: String) -> Result<(), Error> {
        Ok(self.ask(|reply| Command::Cancel { run, reason, reply }).await??)
    }

    /// Ends a run as failed for this cause.
    pub async fn break_off_run(&self, run: RunId, cause: Cause) -> Result<(), Error> {
        Ok(self.ask(|reply| Command::BreakOff { run, cause, reply }).await??)
    }

    /// Posts promotional credits to a workspace's wallet, once for each `key`.
    pub async fn grant(&self, to: WorkspaceId, amount: Credits, key: &str) -> Result<(), Error> {
        self.book(Booking::Grant { to, amount, key: key.to_owned() }).await
    }

    /// Moves credits of a wallet that no run moves. On `Ok` it is on disk; made again, it is the
    /// same as made once.
    pub async fn book(&self, booking: Booking) -> Result<(), Error> {
        let turn = self.in_time(self.booking_turn.clone().lock_owned()).await?;
        let Some(posting) = bookings::look_up(&self.db, booking, clock::now()).await?? else {
            return Ok(());
        };
        let posting = Box::new(posting);
        Ok(self.ask(|reply| Command::Book { posting, turn, reply }).await??)
    }

    /// Takes what a node says and gives what it should do. Waits up to `sync.wait_ms` while there is
    /// nothing to say; a newer sync of the same node ends the wait. On `Ok` it is on disk.
    pub async fn sync(&self, node: NodeId, mut heard: CheckedSync) -> Result<Orders, Error> {
        // A node that waits for an answer says nothing, and must not fall silent by it. One that
        // holds nothing has no task to lose.
        let is_idle = heard.sync.holding.is_empty() && heard.receipts.is_empty();
        let most = if is_idle { self.lease_ms / 3 * 2 } else { self.lease_ms / 3 };
        heard.sync.wait_ms = heard.sync.wait_ms.min(most);
        let operator = self.operator(node).await?;
        let (reply, answer) = oneshot::channel();
        let heard = Box::new(heard);
        let command = Command::Sync { node, operator, heard, reply };
        self.commands.send(command).await.map_err(|_| Error::Stopping)?;
        // Whatever the answer, it says that the message is on disk: only the engine can give it.
        answer.await.map_err(|_| Error::Stopping)
    }

    /// Evaluates the expressions of runs.
    pub fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }

    /// The task timeout of a job that gives none.
    pub fn task_timeout_secs(&self) -> u32 {
        self.task_timeout_secs
    }

    /// The time for which a task of this timeout is reserved when it is handed out.
    pub fn reserved_secs(&self, task_timeout_secs: u32) -> u32 {
        self.reserved_secs.min(task_timeout_secs)
    }

    /// A run's progress, or `None` when it has ended or is unknown.
    pub fn progress(&self, run: RunId) -> Option<Progress> {
        self.watch.progress(run)
    }

    /// Why a run waits for a node, or `None` where it does not.
    pub async fn waiting(&self, run: RunId) -> Result<Option<Waiting>, Error> {
        self.ask(|reply| Command::Waiting { run, reply }).await
    }

    /// Nodes as their operator sees them.
    pub async fn nodes(&self, nodes: Vec<NodeId>) -> Result<Vec<NodeView>, Error> {
        self.ask(|reply| Command::Nodes { nodes, reply }).await
    }

    /// Refuses an operator's node from now on, and gives its tasks to others. Gives whether there
    /// was such a node.
    pub async fn remove_node(&self, operator: WorkspaceId, node: NodeId) -> Result<bool, Error> {
        if !nodes::remove(&self.db, operator, node).await? {
            return Ok(false);
        }
        self.known_operators().remove(&node);
        self.ask(|reply| Command::RemoveNode { node, reply }).await?;
        Ok(true)
    }

    /// What holds up the step that the server does for a run, where there is one.
    pub fn hindrance(&self, run: RunId) -> Option<Hindrance> {
        self.turns.hindrance(run)
    }

    /// How far those of these tasks are that nodes hold now.
    pub async fn under_lease(&self, tasks: Tasks) -> Result<Vec<UnderLease>, Error> {
        self.ask(|reply| Command::UnderLease { tasks, reply }).await
    }

    /// Tells those who follow runs of lines that are stored.
    pub fn tell_lines(&self, lines: impl IntoIterator<Item = StoredLines>) {
        self.watch.tell_lines(lines);
    }

    /// Everything that happens from now on, to all workspaces.
    pub fn events(&self) -> broadcast::Receiver<RunEvent> {
        self.watch.subscribe()
    }

    /// The same, and what happened after an event before; `None` where some of that is no longer
    /// known.
    pub fn events_after(
        &self,
        last: EventId,
    ) -> (Option<Vec<RunEvent>>, broadcast::Receiver<RunEvent>) {
        self.watch.resume(last)
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let sent = self.in_time(self.commands.send(command(reply))).await?;
        sent.map_err(|_| Error::Stopping)?;
        self.in_time(answer).await?.map_err(|_| Error::Stopping)
    }

    /// Waits for what only a database that is away keeps waiting for long.
    async fn in_time<T>(&self, wait: impl Future<Output = T>) -> Result<T, Error> {
        tokio::time::timeout(ANSWER, wait).await.map_err(|_| self.waiting_error())
    }

    fn waiting_error(&self) -> Error {
        if self.disk_full.load(Ordering::Relaxed) { Error::DiskFull } else { Error::Waiting }
    }

    async fn operator(&self, node: NodeId) -> Result<WorkspaceId, Error> {
        if let Some(operator) = self.known_operators().get(&node).copied() {
            return Ok(operator);
        }
        let operator = nodes::operator(&self.db, node).await?.ok_or(Error::NoNode)?;
        if workspaces::owns_server(&self.db, operator).await? {
            // The queue keeps the order: it is heard before the node's message.
            let command = Command::Trust { owner: operator };
            self.commands.send(command).await.map_err(|_| Error::Stopping)?;
        }
        self.known_operators().insert(node, operator);
        Ok(operator)
    }

    fn known_operators(&self) -> MutexGuard<'_, HashMap<NodeId, WorkspaceId>> {
        // Only a cache: whatever is in it is whole.
        self.operators.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
