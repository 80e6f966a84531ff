//! The loop: drain, apply, commit, then answer and act.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::ids::NodeId;
use common::market::{Changes, LeaseChange, Market, Refused};
use common::protocol::Orders;
use common::task::Lease;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::leases::Leases;
use super::steps::Steps;
use super::watch::Watch;
use super::{BookingRefused, Command, Error, Reply, bookings};
use crate::clock;
use crate::store::booked::Booked;
use crate::store::{Db, commit, runs};

/// The most commands that one transaction covers.
const BATCH_MAX: usize = 1_024;
const TICK: Duration = Duration::from_secs(1);
/// Tries of a transaction before the server gives up; the waits between them double.
const COMMIT_TRIES: u32 = 6;
const COMMIT_WAIT: Duration = Duration::from_millis(100);

pub(super) struct Engine {
    market: Market,
    parts: Parts,
    parked: BTreeMap<NodeId, Parked>,
    /// Committed since the start.
    transactions: u64,
}

/// What the engine acts through.
pub(super) struct Parts {
    pub db: Db,
    pub leases: Leases,
    pub watch: Watch,
    pub steps: Steps,
}

/// A node that waits for an answer.
struct Parked {
    reply: Reply<Orders>,
    settled: Vec<Lease>,
    /// It is answered then even where there is nothing to say.
    until: Instant,
}

/// What whoever starts or ends a run is told.
type Answer = Result<(), Refused>;
type BookingAnswer = Result<(), BookingRefused>;

/// What a batch owes to those who asked, once it is on disk.
#[derive(Default)]
struct Batch {
    answers: Vec<(Reply<Answer>, Answer)>,
    /// At most one: the next is decided by what this one stores.
    booked: Option<Booked>,
    booking_answers: Vec<(Reply<BookingAnswer>, BookingAnswer)>,
    /// Nodes that may have something to be told.
    nodes: BTreeSet<NodeId>,
    /// Syncs that a newer one of the same node has overtaken.
    overtaken: Vec<Parked>,
}

/// An answer to a node that changes nothing.
fn nothing_to_say() -> Orders {
    Orders::Work { works: vec![], assign: vec![], cancel: vec![], settled: vec![], probe: false }
}

/// The caller sees its reply dropped and asks again.
fn not_looked_up(error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(error, "a command is dropped: the database cannot be asked");
}

impl Engine {
    pub fn new(market: Market, parts: Parts) -> Self {
        Self { market, parts, parked: BTreeMap::new(), transactions: 0 }
    }

    /// Takes up what was under way when the server stopped, and stores the end of what cannot go
    /// on. After this, nodes may come.
    pub async fn resume(&mut self) -> Result<(), Error> {
        self.finish(Batch::default()).await
    }

    /// Runs until `stop` or until the database fails for good.
    pub async fn run(
        mut self,
        mut queue: mpsc::Receiver<Command>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut commands = Vec::with_capacity(BATCH_MAX);
        loop {
            let ticked = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                n = queue.recv_many(&mut commands, BATCH_MAX) => if n == 0 { return Ok(()) } else { false },
                _ = tick.tick() => {
                    // After a long commit, nodes' messages may have waited here: they are heard
                    // before anybody is taken for silent.
                    while commands.len() < BATCH_MAX && let Ok(command) = queue.try_recv() {
                        commands.push(command);
                    }
                    true
                }
            };
            self.turn(&mut commands, ticked).await?;
        }
    }

    /// One batch: applied, committed, answered.
    async fn turn(&mut self, commands: &mut Vec<Command>, ticked: bool) -> Result<(), Error> {
        let now = clock::now();
        let mut batch = Batch::default();
        for command in commands.drain(..) {
            if matches!(command, Command::Book { .. }) && batch.booked.is_some() {
                self.finish(std::mem::take(&mut batch)).await?;
            }
            self.apply(command, now, &mut batch).await;
        }
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
        self.commit(&changes, batch.booked.as_slice()).await?;
        self.act(&mut changes, batch);
        Ok(())
    }

    async fn apply(&mut self, command: Command, now: DateTime<Utc>, batch: &mut Batch) {
        let market = &mut self.market;
        match command {
            Command::Start { run, spec, reply } => {
                // A run that has ended is no longer in memory, and must not begin again.
                let answer = match runs::exists(&self.parts.db, run).await {
                    Ok(true) => Err(Refused::AlreadyStarted),
                    Ok(false) => market.start_run(run, spec, now),
                    Err(error) => return not_looked_up(&error),
                };
                batch.answers.push((reply, answer));
            }
            Command::Abort { run, reason, reply } => {
                batch.answers.push((reply, market.abort(run, reason, now)));
            }
            Command::BreakOff { run, reason, reply } => {
                batch.answers.push((reply, market.break_off(run, reason, now)));
            }
            Command::Book { booking, reply } => {
                match bookings::book(&self.parts.db, market, *booking, now).await {
                    Ok(Ok(booked)) => {
                        batch.booked = booked;
                        batch.booking_answers.push((reply, Ok(())));
                    }
                    Ok(Err(refused)) => batch.booking_answers.push((reply, Err(refused))),
                    Err(error) => not_looked_up(&error),
                }
            }
            Command::Sync { node, operator, heard, reply } => {
                let until = Instant::now() + Duration::from_millis(heard.sync.wait_ms.into());
                let settled = heard.receipts.iter().map(|(receipt, _)| receipt.lease).collect();
                market.sync(node, operator, *heard, now);
                batch.nodes.insert(node);
                let parked = Parked { reply, settled, until };
                batch.overtaken.extend(self.parked.insert(node, parked));
            }
            Command::Trust { owner } => market.trust(owner),
            Command::Waiting { run, reply } => {
                // Whoever asked may have gone.
                let _ = reply.send(market.waiting(run, now));
            }
            Command::Nodes { nodes, reply } => {
                let _ = reply.send(market.nodes_of(&nodes, now));
            }
            Command::RemoveNode { node, reply } => {
                market.remove_node(node, now);
                let _ = reply.send(());
            }
            Command::UnderLease { run, tasks, reply } => {
                let held = market.run(run).map_or_else(Vec::new, |run| run.under_lease(tasks));
                let _ = reply.send(held);
            }
            Command::Looked { run, objects } => market.looked(run, objects, now),
            Command::Partitioned { run, table } => market.partitioned(run, table, now),
            Command::Folded { run } => market.folded(run, now),
            Command::Delivered { run } => market.delivered(run, now),
            Command::StepFailed { run, reason } => {
                if market.break_off(run, reason, now).is_err() {
                    tracing::debug!(%run, "a step failed after its run had ended");
                }
            }
        }
    }

    /// Puts a batch on disk. A database that is away for a moment is waited for; one that stays
    /// away ends the server, because memory is now ahead of what is stored.
    async fn commit(&mut self, changes: &Changes, booked: &[Booked]) -> Result<(), Error> {
        if changes.is_volatile() && booked.is_empty() {
            return Ok(());
        }
        let mut wait = COMMIT_WAIT;
        for attempt in 1.. {
            match commit::commit(&self.parts.db, changes, booked).await {
                Ok(()) => {
                    self.transactions += 1;
                    break;
                }
                Err(error) if attempt == COMMIT_TRIES => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(
                        attempt,
                        error = &error as &dyn std::error::Error,
                        "commit failed"
                    );
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
            }
        }
        Ok(())
    }

    /// Does what the batch asked for, now that it is on disk. A reply whose receiver has gone is
    /// dropped: whoever asked will ask again.
    fn act(&mut self, changes: &mut Changes, batch: Batch) {
        self.parts.leases.apply(&changes.leases, &self.market);
        for ended in &changes.ended {
            self.parts.steps.cancel(ended.run);
        }
        for (run, step) in std::mem::take(&mut changes.steps) {
            if let Some(run) = self.market.run(run) {
                self.parts.steps.begin(run, step);
            }
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
        self.log(changes);
        self.parts.watch.tell(changes);
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

    fn log(&self, changes: &Changes) {
        for run in &changes.new_runs {
            tracing::info!(%run, "run accepted");
        }
        for ended in &changes.ended {
            let (state, transactions) = (ended.state.as_str(), self.transactions);
            tracing::info!(run = %ended.run, state, transactions, "run ended");
        }
    }
}
