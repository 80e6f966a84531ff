//! What of each workspace stands in no named queue, counted as it changes.

use std::collections::BTreeMap;

use crate::ids::WorkspaceId;
use crate::market::Market;
use crate::market::run::Run;

/// The tasks of a workspace that stand in no named queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutsideQueues {
    /// Those that could be handed out.
    pub tasks_waiting: u64,
    /// Those that nodes hold.
    pub tasks_running: u32,
}

/// The same of all workspaces that have some.
#[derive(Debug, Default)]
pub(in crate::market) struct Outside(BTreeMap<WorkspaceId, OutsideQueues>);

impl Outside {
    pub(super) fn change(&mut self, of: WorkspaceId, change: impl FnOnce(&mut OutsideQueues)) {
        let counted = self.0.entry(of).or_default();
        change(counted);
        if *counted == OutsideQueues::default() {
            self.0.remove(&of);
        }
    }

    /// Counts the waiting tasks of a run again.
    pub(in crate::market) fn count_waiting(&mut self, run: &mut Run, waiting: u64) {
        if run.counted_outside != waiting {
            let before = std::mem::replace(&mut run.counted_outside, waiting);
            self.change(run.spec.workspace, |of| {
                of.tasks_waiting = of.tasks_waiting - before + waiting;
            });
        }
    }
}

impl Market {
    /// The tasks of a workspace that stand in no named queue now. It walks nothing.
    pub fn outside_queues(&self, of: WorkspaceId) -> OutsideQueues {
        self.queues.outside.0.get(&of).copied().unwrap_or_default()
    }

    /// Compares what has been counted with what there is.
    pub(super) fn check_outside(&self) -> Result<(), String> {
        let mut found = Outside::default();
        for run in self.runs.values() {
            let is_dry = self.dry.contains(&(run.spec.workspace, run.id));
            let stages = run.task_stages().filter(|stage| stage.queue().is_none());
            for stage in stages {
                let leased = u32::try_from(stage.tasks.active.len()).unwrap_or(u32::MAX);
                let waiting = if is_dry { 0 } else { stage.tasks.waiting_count() };
                found.change(run.spec.workspace, |of| {
                    of.tasks_running += leased;
                    of.tasks_waiting += waiting;
                });
            }
        }
        if found.0 == self.queues.outside.0 {
            return Ok(());
        }
        Err(format!("{:?} stand in no queue, counted {:?}", found.0, self.queues.outside.0))
    }
}

impl Run {
    /// Its tasks that are not handed out, do not pause and stand in no named queue.
    pub(in crate::market) fn waiting_outside(&self) -> u64 {
        let outside = self.task_stages().filter(|stage| stage.queue().is_none());
        outside.map(|stage| stage.tasks.waiting_count()).sum()
    }
}
