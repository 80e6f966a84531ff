//! Cancelled means stopped: no run is cancelled while a node says that it works on it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use common::ids::RunId;
use common::market::{Changes, Policy};
use common::protocol::Sync;
use common::run::RunState;

/// A node's message.
struct Heard {
    at: DateTime<Utc>,
    incarnation: u64,
    number: u64,
    /// Of the node's process before.
    former: Option<u64>,
    /// Of which it holds tasks.
    runs: BTreeSet<RunId>,
}

/// What one process of the server has heard, beside what its market makes of it.
#[derive(Default)]
pub struct Stopping {
    /// Each node's newest message.
    heard: BTreeMap<u32, Heard>,
    /// Since when runs are being cancelled.
    ending: BTreeMap<RunId, DateTime<Utc>>,
}

impl Stopping {
    pub fn hear(&mut self, node: u32, sync: &Sync, now: DateTime<Utc>) {
        let incarnation = sync.incarnation;
        let former = match self.heard.get(&node) {
            // The last words of a process that has ended come late.
            Some(last) if last.former == Some(incarnation) => return,
            // One that was overtaken tells what was so before.
            Some(last) if last.incarnation == incarnation && sync.number < last.number => return,
            Some(last) if last.incarnation == incarnation => last.former,
            Some(last) => Some(last.incarnation),
            None => None,
        };
        let runs = sync.holding.iter().map(|held| held.lease.task.run).collect();
        self.heard.insert(node, Heard { at: now, incarnation, number: sync.number, former, runs });
    }

    /// A batch is on disk.
    pub fn check(
        &mut self,
        changes: &Changes,
        policy: &Policy,
        now: DateTime<Utc>,
    ) -> Result<(), String> {
        for run in &changes.runs {
            if run.state == RunState::Ending {
                self.ending.entry(run.id).or_insert(now);
            } else if run.state == RunState::Cancelled
                && let Some(since) = self.ending.remove(&run.id)
                && now < since + policy.stop
            {
                self.check_stopped(run.id, since, now - policy.lease)?;
            }
        }
        Ok(())
    }

    /// No node that is there has listed the run in its newest message since it was cancelled.
    fn check_stopped(
        &self,
        run: RunId,
        since: DateTime<Utc>,
        there: DateTime<Utc>,
    ) -> Result<(), String> {
        let works =
            |heard: &&Heard| heard.at > since && heard.at > there && heard.runs.contains(&run);
        match self.heard.values().find(works) {
            Some(Heard { at, .. }) => {
                Err(format!("{run:?} is cancelled, and a node said at {at} that it works on it"))
            }
            None => Ok(()),
        }
    }
}
