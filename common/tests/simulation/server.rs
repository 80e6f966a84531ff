//! The server's loop: events in a batch, one transaction, and only then answers and steps.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::ids::{NodeId, RunId};
use common::market::{Changes, CheckedSync, Checks, LeaseChange, Market, Policy, TaskState};
use common::protocol::Orders;
use common::run::task::Lease;

use crate::donor::{node_id, operator_of, owner};
use crate::queues;
use crate::stopping::Stopping;
use crate::store::Store;

pub struct Server {
    pub market: Market,
    requests: Vec<Request>,
    /// The leases under which data may be touched, as the server of the data knows them.
    live: BTreeMap<Lease, NodeId>,
    /// Whether something has come in since the last transaction.
    pub dirty: bool,
    stopping: Stopping,
}

/// The usual rules, with more checks: stories are short.
fn policy() -> Policy {
    Policy { checks: Checks { percent: 30, key: [3; 32] }, ..Policy::default() }
}

/// A node's message that has not been answered.
struct Request {
    node: u32,
    incarnation: u64,
    settled: Vec<Lease>,
    until: DateTime<Utc>,
}

/// What goes out to a node.
pub struct Answer {
    pub node: u32,
    pub incarnation: u64,
    pub orders: Orders,
}

impl Server {
    pub fn start(store: &Store, now: DateTime<Utc>) -> Self {
        let mut market = Market::load(policy(), store.load(), now);
        market.trust(owner());
        Self {
            market,
            requests: Vec::new(),
            live: BTreeMap::new(),
            dirty: true,
            stopping: Stopping::default(),
        }
    }

    pub fn hear(&mut self, node: u32, heard: CheckedSync, now: DateTime<Utc>) {
        let wait = chrono::TimeDelta::milliseconds(heard.sync.wait_ms.into());
        self.requests.push(Request {
            node,
            incarnation: heard.sync.incarnation,
            settled: heard.receipts.iter().map(|(receipt, _)| receipt.lease).collect(),
            until: now + wait,
        });
        self.stopping.hear(node, &heard.sync, now);
        let id = node_id(node);
        self.market.sync(id, operator_of(id), heard, now);
        self.dirty = true;
    }

    /// Hands out work and stores everything that has changed.
    pub fn commit(&mut self, store: &mut Store, now: DateTime<Utc>) -> Result<Changes, String> {
        queues::dispatch(&mut self.market, store, now)?;
        self.market.check()?;
        let changes = self.market.drain();
        queues::check_ranks(&self.market, &changes.leases, store, now)?;
        store.apply(&changes)?;
        self.stopping.check(&changes, &policy(), now)?;
        for change in &changes.leases {
            match change {
                LeaseChange::Granted { node, lease } => self.live.insert(*lease, *node),
                LeaseChange::Ended { lease, .. } => self.live.remove(lease),
            };
        }
        // A check of a task that is done is not stored.
        let stored = |lease: &Lease| !store.is_done(lease.task);
        let live: BTreeMap<_, _> =
            self.live.iter().filter(|(lease, _)| stored(lease)).map(|(l, n)| (*l, *n)).collect();
        if live != store.leased {
            return Err(format!("live are {live:?}, stored {:?}", store.leased));
        }
        self.dirty = false;
        Ok(changes)
    }

    /// The answers that are due after a transaction.
    pub fn answers(&mut self, store: &Store, now: DateTime<Utc>) -> Result<Vec<Answer>, String> {
        let mut answers = Vec::new();
        let mut kept = Vec::new();
        let requests = std::mem::take(&mut self.requests);
        for (at, request) in requests.iter().enumerate() {
            let newer = requests.iter().skip(at + 1).any(|other| other.node == request.node);
            let orders = self.market.orders(node_id(request.node), request.settled.clone());
            let nothing = Orders::Work {
                works: Vec::new(),
                assign: Vec::new(),
                cancel: Vec::new(),
                settled: request.settled.clone(),
                logged: Vec::new(),
                probe: false,
            };
            let orders = match orders {
                Some(orders) => orders,
                None if newer || request.until <= now => nothing,
                None => {
                    kept.push(at);
                    continue;
                }
            };
            check_told(store, request.node, &orders)?;
            answers.push(Answer { node: request.node, incarnation: request.incarnation, orders });
        }
        let mut at = 0;
        self.requests = requests;
        self.requests.retain(|_| {
            at += 1;
            kept.contains(&(at - 1))
        });
        Ok(answers)
    }

    /// Whether an answer is due although nothing happened.
    pub fn is_late(&self, now: DateTime<Utc>) -> bool {
        self.requests.iter().any(|request| request.until <= now)
    }

    /// Whether every run has ended, and no node works on one.
    pub fn is_idle(&self) -> bool {
        self.market.runs().next().is_none() && self.market.stopping().next().is_none()
    }

    /// A server that starts now must find what this one has in memory.
    pub fn compare_restart(&self, store: &Store, now: DateTime<Utc>) -> Result<(), String> {
        if self.market.is_checking() {
            // Checks are not stored.
            return Ok(());
        }
        let again = Market::load(policy(), store.load(), now);
        let (here, there) = (self.market.fingerprint(), again.fingerprint());
        let differ = |a: &str, b: &str| {
            let lines = a.lines().filter(|line| !b.lines().any(|other| other == *line));
            lines.collect::<Vec<_>>().join("\n")
        };
        if here != there {
            let (here, there) = (differ(&here, &there), differ(&there, &here));
            return Err(format!("in memory is\n{here}\na restart finds\n{there}"));
        }
        Ok(())
    }

    pub fn runs(&self) -> Vec<RunId> {
        self.market.runs().map(|run| run.id).collect()
    }
}

/// A node is told only what is on disk.
fn check_told(store: &Store, node: u32, orders: &Orders) -> Result<(), String> {
    let Orders::Work { assign, cancel, settled, .. } = orders else { return Ok(()) };
    let holds = |lease: &Lease| {
        store.tasks.get(&lease.task).is_some_and(|task| {
            task.state == TaskState::Leased
                && task.attempt == lease.attempt
                && task.node == Some(node_id(node))
        })
    };
    if let Some(assignment) = assign
        .iter()
        .find(|assignment| !holds(&assignment.lease) && !store.is_done(assignment.lease.task))
    {
        return Err(format!("{} was assigned before it was stored", assignment.lease));
    }
    if let Some(lease) = cancel.iter().chain(settled).find(|lease| holds(lease)) {
        return Err(format!("node {node} was told to forget {lease}, which it holds"));
    }
    Ok(())
}
