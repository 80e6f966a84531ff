//! What a server reads when it starts, and when a run is retried.

use common::ids::RunId;
use common::market::{
    Interrupted, Run, RunRecord, StageEnd, StageRecord, Stored, TaskRecord, TaskState,
};
use common::money::ledger::Ledger;
use common::plan::BlockId;
use common::run::RunState;
use common::run::task::StageNo;

use super::{Store, is_final};
use crate::donor::operator_of;
use crate::world;

impl Store {
    /// What the server reads when it starts.
    pub fn load(&self) -> Stored {
        let open = self.runs.values().filter(|run| !run.state.is_final());
        let (stopping, live): (Vec<&RunRecord>, Vec<&RunRecord>) =
            open.partition(|run| run.state == RunState::Ending);
        let tasks: Vec<TaskRecord> = live
            .iter()
            .flat_map(|run| self.tasks_of(run.id))
            .filter(|task| !is_final(task))
            .cloned()
            .collect();
        let operators = tasks
            .iter()
            .filter(|task| task.state == TaskState::Leased)
            .filter_map(|task| task.node)
            .map(|node| (node, operator_of(node)))
            .collect();
        let runs = live.into_iter().map(|record| self.load_run(record)).collect();
        let ledger = Ledger::load(self.balances.clone(), self.transfers.clone());
        Stored {
            runs,
            stopping: stopping.into_iter().cloned().collect(),
            tasks,
            operators,
            ledger,
            statements: self.statements.clone(),
            records: self.records.clone(),
            windows: self.windows.clone(),
            unreadable: Vec::new(),
            schedules: self.timetables.schedules.values().filter_map(world::planned).collect(),
            queues: self.queues.iter().map(|(id, rules)| (*id, *rules)).collect(),
            caps: self.caps.iter().map(|((of, name), cap)| (*of, name.clone(), *cap)).collect(),
        }
    }

    /// A run as the server reads it, ended or not.
    pub fn run(&self, id: RunId) -> Option<Run> {
        self.runs.get(&id).map(|record| self.load_run(record))
    }

    /// A run that has ended and those that its open stages wait for, as the server reads them.
    pub fn interrupted(&self, id: RunId) -> Vec<Interrupted> {
        let Some(run) = self.run(id) else { return Vec::new() };
        let is_failed = |task: &&TaskRecord| task.state == TaskState::Failed;
        let tasks = self.tasks_of(id).filter(is_failed).cloned().collect();
        let parts: Vec<RunId> = run.children().collect();
        let mut all = vec![Interrupted { run, tasks }];
        all.extend(parts.into_iter().flat_map(|part| self.interrupted(part)));
        all
    }

    fn load_run(&self, record: &RunRecord) -> Run {
        let all = (record.id, BlockId::ROOT)..=(record.id, BlockId::new(u16::MAX));
        let tables = self.tables.range(all);
        let run = tables.fold(Run::load(record.clone()), |run, ((_, block), table)| {
            run.with_table(*block, table.clone())
        });
        let is_open = |stage: &&StageRecord| stage.ended.is_none_or(StageEnd::is_cut_off);
        let open = self.stages_of(record.id).filter(is_open);
        let run = open.fold(run, Run::with_stage);
        let all = (record.id, StageNo::new(0))..=(record.id, StageNo::MAX);
        let resolutions = self.resolutions.range(all);
        let run = resolutions.fold(run, |run, ((_, no), of)| run.with_resolution(*no, of.clone()));
        let all = (record.id, 0)..=(record.id, u32::MAX);
        self.values.range(all).fold(run, |run, (_, value)| run.with_value(value.clone()))
    }
}
