//! Runs that have waited in their queue for too long.

use chrono::{DateTime, TimeDelta, Utc};

use crate::ids::RunId;
use crate::market::Market;
use crate::market::run::Run;
use crate::run::RunState;
use crate::run::cause::{Cause, CauseKind};

impl Run {
    /// When it must have begun, where its queue says so and it has not.
    pub(in crate::market) fn begin_by(&self) -> Option<DateTime<Utc>> {
        let secs = self.spec.terms.queue.as_ref()?.timeout_secs?;
        let accepted = self.times().began().filter(|_| self.state() == RunState::Accepted)?;
        Some(accepted + TimeDelta::seconds(secs.into()))
    }
}

impl Market {
    /// Notes when a run that has been accepted must have begun.
    pub(in crate::market) fn note_begin_by(&mut self, id: RunId) {
        let at = self.runs.get(&id).and_then(Run::begin_by);
        self.queues.begin_by.extend(at.map(|at| (at, id)));
    }

    /// The run is about to begin.
    pub(in crate::market) fn forget_begin_by(&mut self, id: RunId) {
        if let Some(at) = self.runs.get(&id).and_then(Run::begin_by) {
            self.queues.begin_by.remove(&(at, id));
        }
    }

    /// Ends the runs that have not begun in time.
    pub(in crate::market) fn end_unbegun(&mut self, now: DateTime<Utc>) {
        while let Some((at, id)) = self.queues.begin_by.first().copied()
            && at <= now
        {
            self.queues.begin_by.pop_first();
            let reason = "it had not begun when its queue's time for that had passed";
            self.fail(id, Cause::new(CauseKind::QueueTimeout, reason), now);
        }
    }
}
