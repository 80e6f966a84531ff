//! Queues as their customers see them: what runs, what waits, and in which order.

use std::collections::BTreeSet;

use crate::ids::{QueueId, RunId};
use crate::market::Market;
use crate::run::queue::QueueStop;

/// The most waiting runs that are named.
const FIRST_MAX: usize = 100;
/// The most waiting stages that are looked at to find the place of a run.
const SEARCH_MAX: usize = 10_000;

/// A queue at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueView {
    /// The runs of it that have not ended.
    pub runs: usize,
    /// The tasks of it that nodes hold.
    pub tasks_running: u32,
    /// Why it hands out nothing.
    pub stop: Option<QueueStop>,
    /// The first runs that have a task to hand out, first come first.
    pub first: Vec<RunId>,
}

impl Market {
    /// A queue as it is now.
    pub fn queue_view(&self, id: QueueId) -> Option<QueueView> {
        let live = self.queues.live.get(&id)?;
        Some(QueueView {
            runs: live.runs,
            tasks_running: live.leased,
            stop: self.queues.stop(id),
            first: self.waiting_in(id, FIRST_MAX),
        })
    }

    /// How many runs of its queue are served before this one, where it waits among the first ten
    /// thousand.
    pub fn position(&self, run: RunId) -> Option<usize> {
        let queue = self.runs.get(&run)?.spec.terms.queue_id()?;
        self.waiting_in(queue, SEARCH_MAX).into_iter().position(|waiting| waiting == run)
    }

    fn waiting_in(&self, queue: QueueId, limit: usize) -> Vec<RunId> {
        let mut seen = BTreeSet::new();
        let places = self.queue.places_of(queue, limit);
        let runs = places.into_iter().map(|place| place.run);
        runs.filter(|run| seen.insert(*run)).collect()
    }
}
