//! How much there is of everything, counted as it changes, so that reading it costs nothing.

use crate::market::Market;
use crate::market::run::Run;
use crate::market::tasks::Tasks;
use crate::money::ledger::Totals;
use crate::protocol::Outcome;
use crate::run::RunState;

/// Numbers of everything that goes on, and of the credits in all wallets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Runs that are not settled, by their state.
    pub scheduled: usize,
    pub accepted: usize,
    pub running: usize,
    /// Cancelled runs whose nodes have not all stopped.
    pub ending: usize,
    /// Runs whose wallet does not cover one more task.
    pub runs_without_credits: usize,
    /// Tasks that are handed out as soon as a node, and their queue, has room for them.
    pub tasks_waiting: u64,
    /// Calls whose answers the server waits for.
    pub calls_under_way: usize,
    /// Calls that a limit stops, and that do not pause.
    pub calls_waiting: usize,
    pub credits: Totals,
}

/// Receipts that have been settled since the last drain, by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipts {
    /// The result was taken and paid for.
    pub accepted: u32,
    /// The attempt gave no result, and its node is not at fault.
    pub failed: u32,
    /// The node says that it is at fault.
    pub node_fault: u32,
    /// It answers a spot check.
    pub check: u32,
    /// The node does not hold the lease.
    pub outdated: u32,
}

impl Receipts {
    /// Counts one that is of a lease in force. `must_give` is whether the job asks for results.
    pub(in crate::market) fn count(&mut self, outcome: &Outcome, is_check: bool, must_give: bool) {
        let counted = match outcome {
            _ if is_check => &mut self.check,
            Outcome::Succeeded { outputs, .. } if outputs.is_empty() && must_give => {
                &mut self.failed
            }
            Outcome::Succeeded { .. } => &mut self.accepted,
            Outcome::Failed { .. } => &mut self.failed,
            Outcome::NodeFault { .. } => &mut self.node_fault,
        };
        *counted += 1;
    }
}

impl Market {
    /// How much there is now. It walks nothing.
    pub fn figures(&self) -> Figures {
        let scheduled = self.scheduled.len();
        let (calls_under_way, calls_waiting) = self.call_figures();
        Figures {
            scheduled,
            accepted: self.runs.len().saturating_sub(scheduled + self.running),
            running: self.running,
            ending: self.stopping.len(),
            runs_without_credits: self.dry.len(),
            tasks_waiting: self.queue.tasks(),
            calls_under_way,
            calls_waiting,
            credits: self.ledger.totals(),
        }
    }

    /// Compares what has been counted with what there is.
    pub(super) fn check_figures(&self) -> Result<(), String> {
        let running = self.runs.values().filter(|run| run.state() == RunState::Running).count();
        let waiting: u64 = self.runs.values().map(|run| self.waiting_tasks(run)).sum();
        if (running, waiting) != (self.running, self.queue.tasks()) {
            let counted = (self.running, self.queue.tasks());
            return Err(format!(
                "there are {running} running runs and {waiting} waiting tasks, counted {counted:?}"
            ));
        }
        Ok(())
    }

    /// The tasks of a run that a node could be given.
    fn waiting_tasks(&self, run: &Run) -> u64 {
        if self.dry.contains(&(run.spec.workspace, run.id)) { 0 } else { run.waiting_tasks() }
    }
}

impl Run {
    /// Its tasks that are not handed out and do not pause.
    pub(in crate::market) fn waiting_tasks(&self) -> u64 {
        self.task_stages().map(|stage| stage.tasks.waiting_count()).sum()
    }
}

impl Tasks {
    pub(in crate::market) fn waiting_count(&self) -> u64 {
        u64::from(self.fresh()) + self.waiting.len() as u64
    }
}
