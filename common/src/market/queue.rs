//! The order in which runs get capacity.
//!
//! First comes the run with the fewest running tasks for its weight, rounded down: so the running
//! tasks of runs that all have enough to do are as their weights, however long a task takes.
//! Among equals, and so wherever there are fewer slots than runs, it is the one whose turn is
//! earliest: each task handed out puts a run's next turn off, the less the more it weighs. A new
//! run's turn is counted from the turn that is being served, so nobody can be overtaken for ever.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::Market;
use super::run::Run;
use crate::ids::RunId;
use crate::terms::Priority;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Running tasks by weight.
    share: usize,
    turn: u64,
    pub run: RunId,
}

/// The runs that have a task to hand out.
#[derive(Debug, Default)]
pub(super) struct Queue {
    places: BTreeSet<Place>,
    /// The turn that was served last.
    served: u64,
}

impl Queue {
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The places after this one, first come first.
    pub fn after(&self, place: Option<Place>) -> impl Iterator<Item = Place> {
        let from = place.map_or(Bound::Unbounded, Bound::Excluded);
        self.places.range((from, Bound::Unbounded)).copied()
    }

    pub fn remove(&mut self, place: Place) {
        self.places.remove(&place);
    }

    /// A run that had nothing to hand out has now: what it did not take before is gone.
    fn join(&self, run: &mut Run) {
        run.turn = run.turn.max(self.served + step(run));
    }

    fn put(&mut self, run: &mut Run) {
        let weight = usize::from(run.spec.terms.priority.weight());
        let place = Place { share: run.active.len() / weight, turn: run.turn, run: run.id };
        run.place = Some(place);
        self.places.insert(place);
    }

    /// A task of the run is handed out. Its place follows with `note_runnable`.
    pub fn serve(&mut self, run: &mut Run) {
        self.served = self.served.max(run.turn);
        run.turn += step(run);
    }
}

fn step(run: &Run) -> u64 {
    u64::from(Priority::WEIGHT_MAX / run.spec.terms.priority.weight())
}

impl Market {
    /// Notes whether a run has a task to hand out, after anything about it has changed.
    pub(super) fn note_runnable(&mut self, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let before = run.place.take();
        if let Some(place) = before {
            self.queue.remove(place);
        }
        let can_go = run.has_waiting() && !self.dry.contains(&(run.spec.workspace, id));
        if can_go || run.has_check() {
            if before.is_none() {
                // Nodes that had nothing to offer to the others may have room for this one.
                self.open.extend(self.nodes.keys());
                self.queue.join(run);
            }
            self.queue.put(run);
        }
    }
}
