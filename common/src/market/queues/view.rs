//! Queues as their customers see them: what runs, what waits, and in which order.

use std::collections::BTreeSet;

use crate::ids::{QueueId, RunId};
use crate::market::Market;
use crate::market::tasks::task_stage::TaskStage;
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
    /// The tasks of it that could be handed out, of its first ten thousand stages.
    pub tasks_waiting: u64,
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
            tasks_waiting: self.tasks_waiting_in(id),
            stop: self.queues.stop(id),
            first: self.waiting_in(id, FIRST_MAX),
        })
    }

    /// How many runs of its queue are served before this one, where it waits among the first ten
    /// thousand.
    pub fn position(&self, run: RunId) -> Option<usize> {
        let stages = self.runs.get(&run)?.task_stages();
        let mut queues = stages.filter(|stage| stage.tasks.has_waiting()).map(TaskStage::queue);
        let queue = queues.find_map(|queue| queue)?;
        self.waiting_in(queue, SEARCH_MAX).into_iter().position(|waiting| waiting == run)
    }

    fn tasks_waiting_in(&self, queue: QueueId) -> u64 {
        let places = self.queue.places_of(queue, SEARCH_MAX).into_iter();
        let stages = places.filter_map(|place| self.runs.get(&place.run)?.tasks(place.stage));
        stages.map(|stage| stage.tasks.waiting_count()).sum()
    }

    fn waiting_in(&self, queue: QueueId, limit: usize) -> Vec<RunId> {
        let mut seen = BTreeSet::new();
        let places = self.queue.places_of(queue, limit);
        let runs = places.into_iter().map(|place| place.run);
        runs.filter(|run| seen.insert(*run)).collect()
    }
}
