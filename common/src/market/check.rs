//! The invariants of the market.

use std::collections::BTreeMap;

use super::Market;
use super::tasks::task_stage::TaskStage;
use crate::compute::resources::Resources;
use crate::ids::WorkspaceId;
use crate::money::credits::Credits;
use crate::money::ledger::Account;
use crate::run::task::Lease;

impl Market {
    /// The invariants: what must be true after every step. Its cost grows with what is running.
    pub fn check(&self) -> Result<(), String> {
        self.ledger.check()?;
        self.check_figures()?;
        self.check_calls()?;
        self.check_jobs()?;
        self.check_queues()?;
        self.check_caps()?;
        self.check_room()?;
        let mut held: BTreeMap<WorkspaceId, Credits> = BTreeMap::new();
        for run in self.runs.values() {
            run.check()?;
            let sum = held.entry(run.spec.workspace).or_default();
            *sum = sum.saturating_add(run.held());
            for (lease, active) in run.task_stages().flat_map(TaskStage::leased) {
                let node = self.nodes.get(&active.node);
                if !node.is_some_and(|node| node.leased.contains(&lease)) {
                    return Err(format!("{lease} is leased to a node that does not hold it"));
                }
            }
        }
        for (workspace, sum) in held {
            let account = self.ledger.balance(Account::Held(workspace));
            if account != sum {
                return Err(format!("{workspace} holds {account}, its runs hold {sum}"));
            }
        }
        for (id, node) in &self.nodes {
            let used = node.leased.iter().fold(Resources::NONE, |sum, lease| {
                let leased = self.leased(*lease);
                sum.plus(leased.map_or(Resources::NONE, |(stage, _)| stage.tasks.needs()))
            });
            if used != node.used {
                return Err(format!("{id:?} uses {:?}, counted {used:?}", node.used));
            }
            let mut gpus: BTreeMap<&str, u32> = BTreeMap::new();
            for lease in &node.leased {
                let active =
                    self.runs.get(&lease.task.run).and_then(|run| run.active_lease(*lease));
                if let Some(name) = active.and_then(|active| active.gpu.as_deref()) {
                    *gpus.entry(name).or_default() += 1;
                }
            }
            if gpus != node.gpus.used() {
                return Err(format!("{id:?}: GPUs {:?}, counted {gpus:?}", node.gpus));
            }
            let run_holds = |lease: &&Lease| {
                self.runs
                    .get(&lease.task.run)
                    .and_then(|run| run.active_lease(**lease))
                    .is_some_and(|active| active.node == *id)
            };
            if let Some(lease) = node.leased.iter().find(|lease| !run_holds(lease)) {
                return Err(format!("{id:?} holds {lease}, which its run did not lease to it"));
            }
        }
        Ok(())
    }
}
