//! A task under lease, and what it has been through before.

use chrono::{DateTime, Utc};

use crate::ids::{NodeId, RunId, WorkspaceId};
use crate::market::outbox::{TaskRecord, TaskState};
use crate::money::credits::Credits;
use crate::run::task::Lease;

/// How far a task is that a node holds, for readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnderLease {
    pub lease: Lease,
    pub received_at: Option<DateTime<Utc>>,
    pub running_at: Option<DateTime<Utc>>,
    /// How far its containers say that they are, in hundredths.
    pub progress: Option<u8>,
}

/// A task under lease.
#[derive(Debug)]
pub(in crate::market) struct Active {
    pub node: NodeId,
    pub operator: WorkspaceId,
    pub leased_at: DateTime<Utc>,
    /// When its node first said that it holds it.
    pub received_at: Option<DateTime<Utc>>,
    /// As its node says, but no earlier than the last message in which it did not run.
    pub running_since: Option<DateTime<Utc>>,
    /// As its node says: it neither gets its data nor stores its results.
    pub waits_for_bucket: bool,
    /// How far its containers say that they are, in hundredths.
    pub progress: Option<u8>,
    /// The most it can cost by now and a little later.
    pub bound: Credits,
    /// The name of the GPU that it has.
    pub gpu: Option<String>,
    /// The end of the last period of which it is known what it used.
    pub sampled_at: Option<DateTime<Utc>>,
    pub tries: Tries,
    /// It checks a task that is done.
    pub is_check: bool,
    /// The run of a less urgent queue whose turn it was.
    pub by_turn_of: Option<RunId>,
}

/// What a task has been through.
#[derive(Debug, Clone, Default)]
pub(in crate::market) struct Tries {
    pub attempt: u32,
    /// Attempts that failed by the customer's code.
    pub failures: u32,
    /// Attempts that their nodes lost.
    pub losses: u32,
    /// When a loss counted last of those that count by the hour.
    pub counted_at: Option<DateTime<Utc>>,
    pub failed_on: Vec<NodeId>,
    /// It has failed on a node whose word was not taken for it.
    pub is_doubted: bool,
    /// Nodes, with their operators, that say that its container was ended from outside.
    pub killed_on: Vec<(NodeId, WorkspaceId)>,
}

impl Active {
    pub fn new(
        (node, operator): (NodeId, WorkspaceId),
        leased_at: DateTime<Utc>,
        bound: Credits,
        tries: Tries,
    ) -> Self {
        Self {
            node,
            operator,
            leased_at,
            received_at: None,
            running_since: None,
            waits_for_bucket: false,
            progress: None,
            bound,
            gpu: None,
            sampled_at: None,
            tries,
            is_check: false,
            by_turn_of: None,
        }
    }

    /// The record of a task that this attempt is, or was, the last of.
    pub fn record(&self, lease: Lease, state: TaskState) -> TaskRecord {
        TaskRecord {
            node: Some(self.node),
            leased_at: Some(self.leased_at),
            received_at: self.received_at,
            running_at: self.running_since,
            ..self.tries.record(lease, state)
        }
    }
}

impl Tries {
    /// The record of a task that nobody holds.
    pub fn record(&self, lease: Lease, state: TaskState) -> TaskRecord {
        TaskRecord {
            task: lease.task,
            state,
            attempt: self.attempt,
            failures: self.failures,
            losses: self.losses,
            node: None,
            leased_at: None,
            received_at: None,
            running_at: None,
            ended_at: None,
            not_before: None,
            price: Credits::ZERO,
            receipt: None,
            error: None,
        }
    }
}
