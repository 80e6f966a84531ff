//! What must be true when all is over.

use common::run::RunState;

use super::World;
use crate::donor::{Donor, operator_of};

impl World {
    pub(super) fn take_stock(&mut self) -> Result<(), String> {
        for (operator, record) in &self.store.records {
            if record.barred_until.is_none() {
                continue;
            }
            self.tally.convicted += 1;
            let is_thief = |donor: &Donor| donor.has_stolen && operator_of(donor.id) == *operator;
            if !self.donors.iter().any(is_thief) {
                return Err(format!("{operator} is honest and was barred"));
            }
        }
        for run in self.store.runs.values() {
            match run.state {
                RunState::Complete => self.tally.complete += 1,
                RunState::Failed => self.tally.failed += 1,
                RunState::Started
                | RunState::Fetching
                | RunState::Partitioning
                | RunState::Processing
                | RunState::Processed
                | RunState::Assembling
                | RunState::Assembled
                | RunState::Delivering => {
                    return Err(format!("{:?} is forgotten in {:?}", run.id, run.state));
                }
            }
        }
        Ok(())
    }
}
