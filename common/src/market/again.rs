//! Delivering the results of a failed run again. Its tasks are done and paid for; only what the
//! server itself does afterwards is done once more, and costs nothing.

use chrono::{DateTime, Utc};

use super::outbox::Step;
use super::run::{Run, Single};
use super::{Market, Refused};
use crate::run::RunState;
use crate::spec::Assemble;

impl Market {
    /// Takes up a run that failed after its last task, as it was stored.
    ///
    /// # Errors
    /// Where nodes would have to work for it again, or it goes on already.
    pub fn deliver_again(&mut self, mut run: Run, now: DateTime<Utc>) -> Result<(), Refused> {
        let id = run.id;
        if self.runs.contains_key(&id) || !run.can_deliver_again() {
            return Err(Refused::NotDeliverable);
        }
        run.error = None;
        run.single = Single::Done;
        self.runs.insert(id, run);
        self.enter(id, RunState::Delivering, now);
        self.outbox.steps.push((id, Step::Fold));
        Ok(())
    }
}

impl Run {
    fn can_deliver_again(&self) -> bool {
        // The one task of a custom assembler comes after those of the chunks.
        let last = match self.spec.assemble {
            Assemble::Builtin(_) => RunState::Processed,
            Assemble::Custom(_) => RunState::Assembled,
        };
        self.state == RunState::Failed && self.chunks.is_some() && self.times.contains_key(&last)
    }

    /// Whether it has ended before: its customer's statement has its line.
    pub(super) fn has_ended_before(&self) -> bool {
        self.times.contains_key(&RunState::Failed)
    }

    /// When the time began that its job's timeout limits: with its work, or when it was taken up
    /// again. It may have waited for a time that its customer chose.
    pub(super) fn clock_started(&self) -> Option<DateTime<Utc>> {
        let since = if self.has_ended_before() { RunState::Delivering } else { RunState::Fetching };
        self.times.get(&since).copied()
    }
}
