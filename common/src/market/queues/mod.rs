//! Customers' named queues: which of them hand out tasks now, and which come before others of
//! their workspace.
//!
//! Workspaces get capacity as `placement::queue` tells, whatever queues they have: when it is the
//! turn of a run in a queue, it is used for the queue of its workspace with the lowest rank that has
//! something for the node. What is handed out so counts as the run's whose turn it was, so that
//! ranks give a workspace no more than its share. Runs without a queue have no rank.

mod outside;
#[cfg(any(test, feature = "testing"))]
mod overtaking;
mod reopened;
mod timeouts;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::Market;
use super::placement::queue::Place;
use super::run::Run;
use super::tasks::task_stage::TaskStage;
use crate::ids::{NodeId, QueueId, RunId, WorkspaceId};
use crate::run::queue::{QueueRules, QueueStop, Rank};
use crate::run::spec::RunSpec;

use outside::Outside;
pub use outside::OutsideQueues;
pub use view::QueueView;

/// The named queues there are.
#[derive(Debug, Default)]
pub(super) struct Queues {
    live: BTreeMap<QueueId, Live>,
    by_rank: BTreeSet<(WorkspaceId, Rank, QueueId)>,
    /// When runs must have begun.
    begin_by: BTreeSet<(DateTime<Utc>, RunId)>,
    /// Those that have been opened since all nodes were looked at.
    reopened: BTreeSet<QueueId>,
    /// What stands in none of them.
    pub(super) outside: Outside,
}

#[derive(Debug)]
struct Live {
    rules: QueueRules,
    /// The runs of it that have not ended.
    runs: usize,
    /// The tasks of it under lease.
    leased: u32,
    /// As many may be under lease although its limit is lower now.
    excess: u32,
}

/// The queue cannot be removed while runs of it go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} runs of this queue have not ended")]
pub struct QueueInUse(pub usize);

impl Queues {
    fn put(&mut self, id: QueueId, rules: QueueRules) {
        let before = self.live.get(&id);
        if let Some(before) = before {
            self.by_rank.remove(&(before.rules.workspace, before.rules.rank, id));
        }
        let (runs, leased) = before.map_or((0, 0), |before| (before.runs, before.leased));
        self.live.insert(id, Live { rules, runs, leased, excess: leased });
        self.by_rank.insert((rules.workspace, rules.rank, id));
    }

    /// What a restart must find again.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn fingerprint(&self) -> String {
        let live = self.live.iter();
        let live: Vec<_> = live.map(|(id, live)| (id, live.rules, live.runs)).collect();
        format!("{live:?} {:?}", self.begin_by)
    }

    fn stop(&self, id: QueueId) -> Option<QueueStop> {
        self.live.get(&id).and_then(|live| live.rules.stop(live.leased))
    }

    /// The queues of a workspace that come before this rank, most urgent first.
    fn before(&self, workspace: WorkspaceId, rank: Rank) -> impl Iterator<Item = (Rank, QueueId)> {
        let nil = QueueId::new(uuid::Uuid::nil());
        let range = (workspace, Rank::FIRST, nil)..(workspace, rank, nil);
        self.by_rank.range(range).map(|(_, rank, id)| (*rank, *id))
    }
}

impl Market {
    /// Takes the queues that were stored, for the runs that are there already.
    pub(super) fn load_queues(&mut self, queues: Vec<(QueueId, QueueRules)>) {
        for (id, rules) in queues {
            self.put_queue(id, rules);
        }
        let runs: Vec<RunId> = self.runs.values().map(|run| run.id).collect();
        for run in runs {
            self.enter_queue(run);
        }
    }

    /// Makes a queue, or changes its rules. What nodes hold of it stays with them.
    pub fn put_queue(&mut self, id: QueueId, rules: QueueRules) {
        self.queues.put(id, rules);
        self.follow_queue(id);
    }

    /// Removes a queue that has no runs.
    ///
    /// # Errors
    /// Where runs of it have not ended.
    pub fn remove_queue(&mut self, id: QueueId) -> Result<(), QueueInUse> {
        let Some(live) = self.queues.live.get(&id) else { return Ok(()) };
        if live.runs > 0 {
            return Err(QueueInUse(live.runs));
        }
        self.queues.by_rank.remove(&(live.rules.workspace, live.rules.rank, id));
        self.queues.live.remove(&id);
        self.queues.reopened.remove(&id);
        self.queue.reopen(id);
        Ok(())
    }

    /// Whether a run may be started in its queues.
    pub(super) fn has_queue_of(&self, spec: &RunSpec) -> bool {
        spec.queues().iter().all(|queue| {
            let live = self.queues.live.get(queue);
            live.is_some_and(|live| live.rules.workspace == spec.workspace)
        })
    }

    /// A run is in memory that was not.
    pub(super) fn enter_queue(&mut self, id: RunId) {
        let Some(run) = self.runs.get(&id) else { return };
        for queue in run.spec.queues() {
            if let Some(live) = self.queues.live.get_mut(&queue) {
                live.runs += 1;
            }
        }
    }

    /// A run has been taken out of memory.
    pub(super) fn leave_queue(&mut self, run: &Run) {
        for queue in run.spec.queues() {
            if let Some(live) = self.queues.live.get_mut(&queue) {
                live.runs -= 1;
            }
        }
    }

    /// A node has got a task of a workspace, which stood in this queue.
    pub(super) fn count_leased(&mut self, of: WorkspaceId, queue: Option<QueueId>) {
        let Some(id) = queue else {
            return self.queues.outside.change(of, |outside| outside.tasks_running += 1);
        };
        if let Some(live) = self.queues.live.get_mut(&id) {
            live.leased += 1;
            self.follow_queue(id);
        }
    }

    /// A node has such a task since before the server started.
    pub(super) fn count_restored(&mut self, of: WorkspaceId, queue: Option<QueueId>) {
        self.count_leased(of, queue);
        if let Some(live) = queue.and_then(|id| self.queues.live.get_mut(&id)) {
            live.excess = live.leased;
        }
    }

    /// Such a task has left its node.
    pub(super) fn count_released(&mut self, of: WorkspaceId, queue: Option<QueueId>) {
        let Some(id) = queue else {
            return self.queues.outside.change(of, |outside| outside.tasks_running -= 1);
        };
        if let Some(live) = self.queues.live.get_mut(&id) {
            live.leased -= 1;
            live.excess = live.excess.min(live.leased);
            self.follow_queue(id);
        }
    }

    /// Closes or opens a queue after what decides about it has changed.
    fn follow_queue(&mut self, id: QueueId) {
        if self.queues.stop(id).is_some() {
            self.queues.reopened.remove(&id);
            self.queue.close(id);
        } else if self.queue.reopen(id) {
            self.queues.reopened.insert(id);
        }
    }

    /// Why the queue of a stage hands out nothing.
    pub(super) fn queue_stop(&self, stage: TaskStage<'_>) -> Option<QueueStop> {
        stage.queue().and_then(|queue| self.queues.stop(queue))
    }

    /// Gives the node a task of the workspace's queues that come before the one of this place.
    /// `passed` has, of each workspace, the rank before which nothing is there for the node.
    pub(super) fn place_before(
        &mut self,
        place: Place,
        passed: &mut BTreeMap<WorkspaceId, Rank>,
        (node, ahead): (NodeId, bool),
        now: DateTime<Utc>,
    ) -> bool {
        let Some((workspace, rank)) = self.rank_of(place) else { return false };
        let from = passed.get(&workspace).copied().unwrap_or(Rank::FIRST);
        let before: Vec<(Rank, QueueId)> = self
            .queues
            .before(workspace, rank)
            .filter(|(rank, id)| *rank >= from && self.queue.has_waiting(*id))
            .collect();
        passed.insert(workspace, rank.max(from));
        for equals in before.chunk_by(|a, b| a.0 == b.0) {
            let mut after = None;
            loop {
                // One that was open may be full by now.
                let is_open = |id: &QueueId| self.queues.stop(*id).is_none();
                let open: Vec<QueueId> = equals.iter().map(|(_, id)| *id).filter(is_open).collect();
                let next = self.next_runnable_of(&open, after, (node, ahead), now);
                let Some(urgent) = next else { break };
                if self.place_here(urgent, Some(place.run), node, now) {
                    return true;
                }
                after = Some(urgent);
            }
        }
        false
    }

    fn rank_of(&self, place: Place) -> Option<(WorkspaceId, Rank)> {
        let queue = self.runs.get(&place.run)?.tasks(place.stage)?.queue()?;
        let rules = self.queues.live.get(&queue)?.rules;
        Some((rules.workspace, rules.rank))
    }

    /// Compares what is counted of queues with what there is.
    pub(super) fn check_queues(&self) -> Result<(), String> {
        let mut counted: BTreeMap<QueueId, (usize, u32)> = BTreeMap::new();
        for run in self.runs.values() {
            for queue in run.spec.queues() {
                counted.entry(queue).or_default().0 += 1;
            }
            for stage in run.task_stages() {
                let Some(queue) = stage.queue() else { continue };
                let leased = u32::try_from(stage.tasks.active.len()).unwrap_or(u32::MAX);
                counted.entry(queue).or_default().1 += leased;
            }
        }
        for (id, live) in &self.queues.live {
            let found = counted.get(id).copied().unwrap_or_default();
            if found != (live.runs, live.leased) {
                return Err(format!("{id:?} has {found:?} runs and leases, counted {live:?}"));
            }
            let most = live.rules.max_running.max(live.excess);
            if live.rules.max_running > 0 && live.leased > most {
                return Err(format!("{id:?} runs more than it may: {live:?}"));
            }
        }
        self.check_outside()?;
        self.queue.check(|queue| self.queues.stop(queue).is_some())
    }
}
