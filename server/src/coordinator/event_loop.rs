//! The loop: drain, apply, commit, then answer and act.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use common::error_chain::chain;
use common::ids::{NodeId, RunId};
use common::market::{Changes, Fire, LeaseChange, Market, Refused};
use common::protocol::Orders;
use common::run::task::Lease;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::batch_log::{self, About};
use super::calls::Calls;
use super::leases::Leases;
use super::questions::Questions;
use super::steps::Steps;
use super::watch::Watch;
use super::{BookingRefused, BookingTurn, CheckedSync, Command, Error, Reply, Tasks, UnderLease};
use crate::clock;
use crate::metrics::Metrics;
use crate::startup::last_batch::LastBatch;
use crate::store;
use crate::store::Db;
use crate::store::jobs::JobLock;
use crate::store::market::batch_number;
use crate::store::market::commit::{self, BatchJobs};
use crate::store::money::booking_effects::Booked;
use crate::traces::Traces;

/// The most commands that one transaction covers.
const BATCH_MAX: usize = 1_024;
const TICK: Duration = Duration::from_secs(1);
/// Tries of a transaction that the database refuses before the server gives up. One that is away
/// is waited for, however long it takes.
const COMMIT_TRIES: u32 = 6;
/// The waits between tries double.
const COMMIT_WAIT: Duration = Duration::from_millis(100);
const COMMIT_WAIT_MAX: Duration = Duration::from_secs(5);
/// A database that takes so long for one transaction has gone without closing its connection.
const COMMIT_MAX: Duration = Duration::from_secs(60);
/// A turn that begins so long after the one before says that the server itself was away.
const LATE: TimeDelta = TimeDelta::seconds(5);

pub(super) struct Engine {
    market: Market,
    parts: Parts,
    parked: BTreeMap<NodeId, Parked>,
    /// The number of the last batch that is stored.
    batch: i64,
    /// Committed since the start.
    transactions: u64,
    /// When the last turn began.
    turned: Option<DateTime<Utc>>,
}

/// What the engine acts through.
pub(super) struct Parts {
    pub db: Db,
    pub leases: Leases,
    pub watch: Watch,
    pub steps: Steps,
    pub calls: Calls,
    pub questions: Questions,
    /// Who is told of schedules that are due.
    pub fires: mpsc::Sender<Fire>,
    pub last_batch: LastBatch,
    pub traces: Traces,
    /// Whether commits wait because the disk is full.
    pub disk_full: Arc<AtomicBool>,
    pub metrics: Arc<Metrics>,
    /// Asks the engine to end.
    pub stop: CancellationToken,
}

/// A node that waits for an answer.
struct Parked {
    reply: Reply<Orders>,
    settled: Vec<Lease>,
    /// It is answered then even where there is nothing to say.
    until: Instant,
}

impl Parked {
    /// A node that has said this.
    fn of(heard: &CheckedSync, reply: Reply<Orders>) -> Self {
        let settled = heard.receipts.iter().map(|(receipt, _)| receipt.lease).collect();
        let until = Instant::now() + Duration::from_millis(heard.sync.wait_ms.into());
        Self { reply, settled, until }
    }
}

/// The answer to a caller that starts or ends a run.
type Answer = Result<(), Refused>;
type BookingAnswer = Result<(), BookingRefused>;

/// What a batch owes to those who asked, once it is on disk.
#[derive(Default)]
struct Batch {
    answers: Vec<(Reply<Answer>, Answer)>,
    /// What is stored beside the market's changes: jobs that are new or were started, and what was
    /// booked.
    jobs: BatchJobs,
    booked: Vec<Booked>,
    booking_answers: Vec<(Reply<BookingAnswer>, BookingAnswer)>,
    /// What keeps others from what was read for this batch, until all of it is on disk.
    locks: Vec<JobLock>,
    booking_turns: Vec<BookingTurn>,
    /// When it was made, and the spans of the requests that started its runs: for the log.
    at: DateTime<Utc>,
    requests: BTreeMap<RunId, Span>,
    /// Nodes that may have something to be told.
    nodes: BTreeSet<NodeId>,
    /// Syncs that a newer one of the same node has overtaken, or whose node is removed.
    overtaken: Vec<Parked>,
}

/// How far those of these tasks are that nodes hold.
fn under_lease(market: &Market, Tasks { run, stage, indexes }: Tasks) -> Vec<UnderLease> {
    let run = market.run(run);
    run.map_or_else(Vec::new, |run| run.under_lease(stage, indexes))
}

/// An answer to a node that changes nothing.
fn nothing_to_say() -> Orders {
    Orders::Work {
        works: vec![],
        assign: vec![],
        cancel: vec![],
        settled: vec![],
        logged: vec![],
        probe: false,
    }
}

impl Engine {
    /// `batch` is the number of the last one that is stored.
    pub fn new(market: Market, batch: i64, parts: Parts) -> Self {
        Self { market, parts, parked: BTreeMap::new(), batch, transactions: 0, turned: None }
    }

    /// Takes up what was under way when the server stopped, and stores the end of what cannot go
    /// on. After this, nodes may come.
    pub async fn resume(&mut self) -> Result<(), Error> {
        self.finish(Batch::default()).await
    }

    /// Runs until it is asked to stop, or the database refuses what must be stored.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Command>) -> Result<(), Error> {
        let stop = self.parts.stop.clone();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut commands = Vec::with_capacity(BATCH_MAX);
        loop {
            let ticked = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                n = queue.recv_many(&mut commands, BATCH_MAX) => if n == 0 { return Ok(()) } else { false },
                () = clock::reached(self.next_due()) => false,
                _ = tick.tick() => {
                    // After a long commit, nodes' messages may have waited here: they are heard
                    // before anybody is taken for silent.
                    while commands.len() < BATCH_MAX && let Ok(command) = queue.try_recv() {
                        commands.push(command);
                    }
                    true
                }
            };
            match self.turn(&mut commands, ticked).await {
                // It waited for the database; nothing of the batch has been acknowledged.
                Err(_) if stop.is_cancelled() => return Ok(()),
                done => done?,
            }
        }
    }

    /// When a schedule is due next. While too many wait to be answered, each answer makes room.
    fn next_due(&self) -> Option<DateTime<Utc>> {
        self.market.next_due().filter(|_| self.parts.fires.capacity() > 0)
    }

    /// One batch: applied, committed, answered.
    async fn turn(&mut self, commands: &mut Vec<Command>, ticked: bool) -> Result<(), Error> {
        let now = clock::now();
        let gap = self.turned.replace(now).map_or(TimeDelta::zero(), |before| now - before);
        if gap > LATE {
            tracing::warn!(seconds = gap.num_seconds(), "the server was away: all deadlines move");
            self.market.was_away(gap, now);
        }
        if !commands.is_empty() {
            self.parts.metrics.coordinator.batch(commands.len());
        }
        let mut batch = Batch { at: now, ..Batch::default() };
        for command in commands.drain(..) {
            self.apply(command, now, &mut batch);
        }
        self.market.fire_due(self.parts.fires.capacity(), now);
        if ticked {
            self.market.tick(now);
            let instant = Instant::now();
            let due = self.parked.iter().filter(|(_, parked)| parked.until <= instant);
            batch.nodes.extend(due.map(|(node, _)| *node));
        }
        batch.nodes.extend(self.market.dispatch(now));
        self.finish(batch).await
    }

    /// Puts a batch on disk, then answers and acts.
    async fn finish(&mut self, batch: Batch) -> Result<(), Error> {
        let mut changes = self.market.drain();
        self.commit(&changes, &batch).await?;
        self.measure(&changes);
        self.act(&mut changes, batch);
        Ok(())
    }

    fn apply(&mut self, command: Command, now: DateTime<Utc>, batch: &mut Batch) {
        let market = &mut self.market;
        match command {
            Command::Create { job, lock, reply } => {
                batch.jobs.created.push(*job);
                batch.locks.extend(lock);
                batch.answers.push((reply, Ok(())));
            }
            Command::Start { run, spec, job, lock, request, reply } => {
                let answer = market.start_run(run, spec, now);
                if answer.is_ok() {
                    batch.jobs.started.push(*job);
                    batch.requests.insert(run, request);
                }
                batch.locks.push(lock);
                batch.answers.push((reply, answer));
            }
            Command::Again { again, lock, reply } => {
                batch.locks.push(lock);
                batch.answers.push((reply, again.apply(market, now)));
            }
            Command::PutSchedule { schedule, lock, reply } => {
                market.put_schedule(*schedule);
                batch.locks.push(lock);
                batch.answers.push((reply, Ok(())));
            }
            Command::Fired { schedule, order, lock } => {
                market.fired(*schedule, &order, now);
                batch.locks.push(lock);
            }
            Command::Cancel { run, reason, reply } => {
                batch.answers.push((reply, market.cancel(run, reason, now)));
            }
            Command::BreakOff { run, cause, reply } => {
                batch.answers.push((reply, market.break_off(run, cause, now)));
            }
            Command::Book { posting, turn, reply } => {
                let answer = posting.post(market, now).map(|booked| batch.booked.push(booked));
                batch.booking_turns.push(turn);
                batch.booking_answers.push((reply, answer));
            }
            Command::Sync { node, operator, heard, reply } => {
                let parked = Parked::of(&heard, reply);
                market.sync(node, operator, *heard, now);
                batch.nodes.insert(node);
                batch.overtaken.extend(self.parked.insert(node, parked));
            }
            Command::Trust { owner } => market.trust(owner),
            Command::Waiting { run, reply } => {
                // The asker may have gone.
                let _ = reply.send(market.waiting(run, now));
            }
            Command::Nodes { nodes, reply } => {
                let _ = reply.send(market.nodes_of(&nodes, now));
            }
            Command::RemoveNode { node, reply } => {
                market.remove_node(node, now);
                // It asks again at once, and hears that it is removed.
                batch.overtaken.extend(self.parked.remove(&node));
                let _ = reply.send(());
            }
            Command::Queue(command) => command.apply(market),
            Command::Cap(command) => batch.answers.extend(command.apply(market, now)),
            Command::UnderLease { tasks, reply } => drop(reply.send(under_lease(market, tasks))),
            Command::Step(news) => news.apply(market, now),
            Command::CallEnded { lease, report } => {
                self.parts.calls.ended(lease);
                market.call_ended(lease, report, now);
            }
            Command::Resolved { run, stage, answer } => market.resolved(run, stage, *answer, now),
        }
    }

    /// Puts a batch on disk. A database that is away is waited for: memory is ahead of what is
    /// stored, so nothing new is taken or acknowledged meanwhile. One that refuses a batch ends
    /// the server.
    async fn commit(&mut self, changes: &Changes, batch: &Batch) -> Result<(), Error> {
        if changes.is_volatile() && batch.booked.is_empty() && batch.jobs.created.is_empty() {
            return Ok(());
        }
        let (number, began) = (self.batch + 1, Instant::now());
        let (mut wait, mut refused) = (COMMIT_WAIT, 0);
        while let Err(error) = self.try_commit(number, changes, batch).await {
            self.parts.metrics.coordinator.commit_failed();
            refused += u32::from(!store::is_away(&error));
            self.parts.disk_full.store(store::is_full(&error), Ordering::Relaxed);
            tracing::warn!(number, error = %chain(&error), "commit failed");
            if refused == COMMIT_TRIES {
                return Err(error.into());
            }
            tokio::select! {
                () = self.parts.stop.cancelled() => return Err(error.into()),
                () = tokio::time::sleep(wait) => {}
            }
            wait = COMMIT_WAIT_MAX.min(wait * 2);
            // It may have been stored, and its answer lost.
            if batch_number::last(&self.parts.db).await.is_ok_and(|last| last == number) {
                break;
            }
        }
        self.parts.disk_full.store(false, Ordering::Relaxed);
        self.parts.last_batch.note(number);
        self.parts.metrics.coordinator.committed(began.elapsed());
        self.batch = number;
        self.transactions += 1;
        Ok(())
    }

    async fn try_commit(
        &self,
        number: i64,
        changes: &Changes,
        batch: &Batch,
    ) -> Result<(), store::Error> {
        let done = commit::commit(&self.parts.db, number, changes, &batch.booked, &batch.jobs);
        tokio::time::timeout(COMMIT_MAX, done).await.unwrap_or_else(|_| Err(store::no_answer()))
    }

    /// Counts what a batch has changed, and notes how much there is after it.
    fn measure(&self, changes: &Changes) {
        let (metrics, figures) = (&self.parts.metrics, self.market.figures());
        metrics.coordinator.changed(changes);
        metrics.coordinator.stands(&figures);
        metrics.money.moved(&changes.transfers);
        metrics.money.stands(&figures);
    }

    /// Does what the batch asked for, now that it is on disk. A reply whose receiver has gone is
    /// dropped: its caller asks again.
    fn act(&mut self, changes: &mut Changes, batch: Batch) {
        self.parts.leases.apply(&changes.leases, &self.market);
        for ended in &changes.ended {
            self.parts.steps.cancel(ended.run);
            self.parts.calls.cancel(ended.run);
        }
        for (run, stage) in std::mem::take(&mut changes.steps) {
            if let Some(run) = self.market.run(run) {
                self.parts.steps.begin(run, stage);
            }
        }
        for (run, stage) in std::mem::take(&mut changes.questions) {
            let frozen = self.market.run(run).and_then(|run| run.frozen(stage));
            if let Some(frozen) = frozen {
                self.parts.questions.ask(Arc::clone(frozen));
            }
        }
        for lease in std::mem::take(&mut changes.calls) {
            if let Some(run) = self.market.run(lease.task.run) {
                self.parts.calls.begin(run, lease);
            }
        }
        for fire in std::mem::take(&mut changes.fires) {
            // There is room. When the server stops, nobody listens any more: the schedule is due
            // again at the next start.
            let _ = self.parts.fires.try_send(fire);
        }
        let mut nodes = batch.nodes;
        nodes.extend(changes.leases.iter().filter_map(|change| match change {
            LeaseChange::Ended { node, .. } => Some(*node),
            LeaseChange::Granted { .. } => None,
        }));
        for node in nodes {
            self.answer(node);
        }
        for parked in batch.overtaken {
            let _ = parked.reply.send(nothing_to_say());
        }
        for (reply, answer) in batch.answers {
            let _ = reply.send(answer);
        }
        for (reply, answer) in batch.booking_answers {
            let _ = reply.send(answer);
        }
        let transactions = self.transactions;
        let about = About { at: batch.at, requests: &batch.requests, transactions };
        batch_log::write(changes, &about);
        self.parts.watch.tell(changes);
        self.parts.traces.tell(changes, &self.market);
    }

    /// Answers a waiting node, if there is something to tell it.
    fn answer(&mut self, node: NodeId) {
        let Some(parked) = self.parked.remove(&node) else { return };
        if parked.reply.is_closed() {
            return;
        }
        match self.market.orders(node, parked.settled.clone()) {
            Some(orders) => {
                let _ = parked.reply.send(orders);
            }
            None if parked.until <= Instant::now() => {
                let _ = parked.reply.send(nothing_to_say());
            }
            None => {
                self.parked.insert(node, parked);
            }
        }
    }
}
