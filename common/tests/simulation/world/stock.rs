//! What must be true when all is over.

use common::run::RunState;

use super::World;
use crate::donor::{Donor, operator_of};

impl World {
    pub(super) fn take_stock(&mut self) -> Result<(), String> {
        for (run, operator) in &self.store.reversals {
            self.tally.convicted += 1;
            let is_thief = |donor: &Donor| donor.has_stolen && operator_of(donor.id) == *operator;
            let is_unstable = self.order_of(*run).is_some_and(|order| order.is_unstable);
            // Work that is not what its customer says of it can make anybody look like a thief.
            if !self.donors.iter().any(is_thief) && !is_unstable {
                return Err(format!("{operator} is honest and lost its earnings of {run}"));
            }
        }
        for run in self.store.runs.values() {
            match run.state {
                RunState::Succeeded => self.tally.complete += 1,
                RunState::Failed => self.tally.failed += 1,
                RunState::Cancelled => self.tally.cancelled += 1,
                RunState::Scheduled | RunState::Accepted | RunState::Running | RunState::Ending => {
                    return Err(format!("{:?} is forgotten in {:?}", run.id, run.state));
                }
            }
        }
        Ok(())
    }
}
