//! Customers whose runs have ended without success, and who want them to go on.

use common::ids::RunId;
use common::market::Changes;
use common::run::RunState;

use super::{Event, World};

impl World {
    /// Some of those whose runs have just ended ask, until the world heals.
    pub(super) fn plan_retries(&mut self, changes: &Changes) {
        for run in &changes.runs {
            let has_ended = matches!(run.state, RunState::Failed | RunState::Cancelled);
            let is_ordered = self.orders.iter().any(|order| order.run == run.id);
            if has_ended && is_ordered && !self.healed && self.random.chance(700) {
                let later = self.random.between(1, 60_000);
                self.at(later, Event::Retry(run.id));
            }
        }
    }

    /// Goes on with a run where that can be. What it is taken up from is on disk: nobody else
    /// takes it up meanwhile.
    pub(super) fn retry(&mut self, run: RunId) {
        let Some(server) = &mut self.server else { return };
        if server.dirty {
            return self.at(20, Event::Retry(run));
        }
        if server.market.retry(self.store.interrupted(run), self.now).is_ok() {
            self.tally.retried += 1;
            self.touch();
        }
    }
}
