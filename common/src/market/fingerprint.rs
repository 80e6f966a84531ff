//! What of a market is stored, as one text, so that memory and a restart can be compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Market;
use super::calls::open_call::OpenCall;
use super::run::Run;
use super::tasks::active::Tries;
use crate::ids::RunId;

impl Market {
    /// Runs, stages, tasks and accounts, without what a restart may forget: pauses, checks, and
    /// what has been reserved ahead for tasks that run.
    pub fn fingerprint(&self) -> String {
        let mut text = String::new();
        let mut runs: Vec<&Run> = self.runs.values().collect();
        runs.sort_unstable_by_key(|run| run.id);
        for run in runs {
            let record = run.record();
            let _ = writeln!(text, "{:?} {:?} {:?}", record.id, record.state, record.times);
            let _ = writeln!(text, "{:?} {:?}", record.counts, record.next_stage);
            let purse = (record.held, record.captured, record.billed);
            let _ = writeln!(text, "holds, cost, billed: {purse:?}");
            let _ = writeln!(text, "{:?} {:?} {:?}", record.warning, record.cause, record.output);
            let _ = writeln!(text, "{:?} {:?}", record.next_value, run.known_values());
            for stage in run.stages() {
                let _ = writeln!(text, "{:?} {:?}", stage.record(run.id, None), stage.resolved);
                if let Some(call) = stage.call() {
                    let _ = writeln!(text, "{:?} {:?}", after_loss(call), call.pauses_until());
                }
                let Some(tasks) = stage.tasks() else { continue };
                for (index, active) in &tasks.active {
                    let tries = counts(&active.tries);
                    let _ = writeln!(text, "{index}: {tries:?} on {:?}", active.node);
                }
                let pausing = tasks.pausing.iter().map(|(index, (_, tries))| (*index, tries));
                let waiting = tasks.waiting.iter().map(|(index, tries)| (*index, tries));
                let waiting: BTreeMap<u32, [u32; 3]> =
                    waiting.chain(pausing).map(|(index, tries)| (index, counts(tries))).collect();
                let _ = writeln!(text, "waiting: {waiting:?}");
            }
        }
        let stopping: Vec<&RunId> = self.stopping.keys().collect();
        let _ = writeln!(text, "stopping: {stopping:?}");
        let _ = writeln!(text, "{:?} {:?} {:?}", self.scheduled, self.deadlines, self.statements);
        let _ = writeln!(text, "{:?} {}", self.schedules.active(), self.queues.fingerprint());
        let _ = writeln!(text, "{}", self.caps.fingerprint());
        let _ = writeln!(text, "{:?}", self.ledger);
        text
    }

    /// Whether results are being checked.
    pub fn is_checking(&self) -> bool {
        self.runs.values().any(|run| {
            run.task_stages().any(|stage| {
                let checks = stage.tasks.active.values().any(|active| active.is_check);
                checks || !stage.tasks.checks.is_empty()
            })
        })
    }
}

/// A restart loses the attempt that is under way.
fn after_loss(call: &OpenCall) -> [u32; 3] {
    let [attempt, failures, losses] = counts(&call.tries);
    [attempt, failures, losses + u32::from(call.since().is_some())]
}

fn counts(tries: &Tries) -> [u32; 3] {
    [tries.attempt, tries.failures, tries.losses]
}
