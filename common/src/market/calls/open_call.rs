//! A call's stage: one task, and what it has been through.

use chrono::{DateTime, Utc};

use crate::market::outbox::{TaskRecord, TaskState};
use crate::market::tasks::active::Tries;
use crate::run::task::Lease;

#[derive(Debug, Default)]
pub(in crate::market) struct OpenCall {
    pub tries: Tries,
    pub state: CallState,
}

/// What a call waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::market) enum CallState {
    /// It has just been opened or loaded, and stands in no lane yet.
    #[default]
    Idle,
    /// Its turn in its lane, where it has this number.
    Queued(u64),
    /// The end of the pause between two attempts.
    Pausing(DateTime<Utc>),
    /// Its answer, since this time.
    UnderWay(DateTime<Utc>),
}

impl OpenCall {
    /// When its attempt began that is under way.
    pub const fn since(&self) -> Option<DateTime<Utc>> {
        match self.state {
            CallState::UnderWay(since) => Some(since),
            CallState::Idle | CallState::Queued(_) | CallState::Pausing(_) => None,
        }
    }

    pub const fn pauses_until(&self) -> Option<DateTime<Utc>> {
        match self.state {
            CallState::Pausing(until) => Some(until),
            CallState::Idle | CallState::Queued(_) | CallState::UnderWay(_) => None,
        }
    }

    /// The record of its task. A call has no node: the server holds its leases.
    pub fn record(&self, lease: Lease, state: TaskState) -> TaskRecord {
        let since = self.since();
        TaskRecord {
            leased_at: since,
            received_at: since,
            running_at: since,
            not_before: self.pauses_until(),
            ..self.tries.record(lease, state)
        }
    }
}
