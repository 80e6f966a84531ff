//! Tasks: who has them, and what they end with.

use std::collections::BTreeMap;

use common::call::CallTask;
use common::ids::{NodeId, RunId};
use common::market::{TaskRecord, TaskState};
use common::protocol::{Outcome, Output, Receipt};
use common::run::RunState;
use common::run::task::{Lease, StageNo, TaskRef};

use super::{Checked, Store, is_final};
use crate::donor::is_owners;

impl Store {
    pub(super) fn put_task(&mut self, task: &TaskRecord) -> Checked {
        if let Some(before) = self.tasks.get(&task.task) {
            let run = self.runs.get(&task.task.run).map(|run| run.state);
            let is_retried = matches!(run, Some(RunState::Failed | RunState::Cancelled));
            match before.state {
                TaskState::Waiting | TaskState::Leased => {}
                // What its last attempt cost is told once more among those before.
                TaskState::Failed if is_retried => {
                    let price = before.price.units();
                    self.purses.entry(task.task.run).or_default().prices -= price;
                }
                TaskState::Done | TaskState::Failed => {
                    return Err(format!("{} was {:?} and changed", task.task, before.state));
                }
            }
            self.leased.remove(&Lease { task: task.task, attempt: before.attempt });
            if task.attempt < before.attempt {
                return Err(format!("{} went back to attempt {}", task.task, task.attempt));
            }
        }
        if task.state == TaskState::Done && self.call_of(task)?.is_none() {
            self.check_receipt(task)?;
            let done = task.node.map(|node| self.accepted.entry(node).or_default());
            *done.ok_or("done by nobody")? += 1;
        }
        if is_final(task) {
            self.check_bill(task)?;
            self.purses.entry(task.task.run).or_default().prices += task.price.units();
        }
        if let (TaskState::Leased, Some(node)) = (task.state, task.node) {
            self.leased.insert(Lease { task: task.task, attempt: task.attempt }, node);
        }
        self.tasks.insert(task.task, task.clone());
        Ok(())
    }

    /// What is paid is what its holder signed for, and no more than its lease allowed.
    pub(super) fn check_receipt(&self, task: &TaskRecord) -> Checked {
        let name = task.task;
        let (Some(node), Some(signed)) = (task.node, &task.receipt) else {
            return Err(format!("{name} is done by nobody"));
        };
        let receipt: Receipt = postcard::from_bytes(&signed.receipt).map_err(|e| e.to_string())?;
        let lease = Lease { task: name, attempt: task.attempt };
        if receipt.lease != lease || signed.signature != node.uuid().as_bytes() {
            return Err(format!("{name} is done by the receipt of {}", receipt.lease));
        }
        let Outcome::Succeeded { outputs, .. } = receipt.outcome else {
            return Err(format!("{name} is done by a receipt without results"));
        };
        // All results are small here: their bytes come with the receipt, and are stored with it.
        let bytes = |output: &Output| signed.contents.find(output.digest).map(<[u8]>::len);
        let is_whole = |output: &Output| bytes(output).map(|len| len as u64) == Some(output.size);
        if outputs.iter().all(is_whole) {
            Ok(())
        } else {
            Err(format!("{name} is done and a result of it is not stored"))
        }
    }

    /// The call that a task is.
    pub(super) fn call_of(&self, task: &TaskRecord) -> Result<Option<&CallTask>, String> {
        let name = task.task;
        let spec = &self.runs.get(&name.run).ok_or("a task without a run")?.spec;
        let stage = self.stages.get(&(name.run, name.stage)).ok_or("a task without a stage")?;
        Ok(spec.plan.call_task(stage.block))
    }

    /// A node has no more leases at once than it has shown that it deserves.
    pub(super) fn check_windows(&self) -> Checked {
        let mut leased: BTreeMap<NodeId, u32> = BTreeMap::new();
        for node in self.leased.values().filter(|node| !is_owners(**node)) {
            *leased.entry(*node).or_default() += 1;
        }
        for (node, leases) in leased {
            let accepted = self.accepted.get(&node).copied().unwrap_or(0);
            if leases > accepted + 2 {
                return Err(format!("{node:?} has {leases} leases, did {accepted} tasks"));
            }
        }
        Ok(())
    }

    pub fn is_done(&self, task: TaskRef) -> bool {
        self.tasks.get(&task).is_some_and(|task| task.state == TaskState::Done)
    }

    pub fn tasks_of(&self, run: RunId) -> impl Iterator<Item = &TaskRecord> {
        let first = TaskRef { run, stage: StageNo::new(0), index: 0 };
        let last = TaskRef { run, stage: StageNo::MAX, index: u32::MAX };
        self.tasks.range(first..=last).map(|(_, task)| task)
    }
}
