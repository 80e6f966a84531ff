//! A store as the server's database is: it takes whole transactions, survives the server, and
//! finds out whatever must never be written.

mod load;
mod money;
mod runs;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};

use common::data::chunk_table::ChunkTable;
use common::ids::{NodeId, QueueId, RunId, WorkspaceId};
use common::market::{
    Changes, OperatorRecord, Resolution, RunRecord, StageRecord, TaskRecord, TaskState, ValueRecord,
};
use common::money::credits::Credits;
use common::money::ledger::Account;
use common::money::shard::Shard;
use common::money::spend_cap::SpendCap;
use common::money::statement::Head;
use common::plan::BlockId;
use common::run::queue::QueueRules;
use common::run::task::{Lease, StageNo, TaskRef};

use crate::timetable::Timetables;

#[derive(Debug, Default)]
pub struct Store {
    pub runs: BTreeMap<RunId, RunRecord>,
    pub tasks: BTreeMap<TaskRef, TaskRecord>,
    /// Who holds what.
    pub leased: BTreeMap<Lease, NodeId>,
    stages: BTreeMap<(RunId, StageNo), StageRecord>,
    tables: BTreeMap<(RunId, BlockId), ChunkTable>,
    resolutions: BTreeMap<(RunId, StageNo), Resolution>,
    values: BTreeMap<(RunId, u32), ValueRecord>,
    balances: BTreeMap<Account, i64>,
    /// How many of each shard.
    transfers: BTreeMap<Shard, u64>,
    statements: BTreeMap<WorkspaceId, Head>,
    /// Added up again from the transfers.
    recounted: BTreeMap<Account, i64>,
    purses: BTreeMap<RunId, Purse>,
    captures: BTreeMap<Lease, Credits>,
    /// Attempts that have ended and after which their task went on.
    attempts: BTreeSet<Lease>,
    records: BTreeMap<WorkspaceId, OperatorRecord>,
    /// Operators whose earnings of a run were taken.
    pub reversals: BTreeSet<(RunId, WorkspaceId)>,
    windows: BTreeMap<NodeId, u32>,
    /// Tasks of each node that were accepted.
    accepted: BTreeMap<NodeId, u32>,
    pub timetables: Timetables,
    pub queues: BTreeMap<QueueId, QueueRules>,
    caps: BTreeMap<(WorkspaceId, String), SpendCap>,
}

/// What a run's transfers add up to, in 1e-8 credits.
#[derive(Debug, Clone, Copy, Default)]
struct Purse {
    ever_held: i64,
    captured: i64,
    voided: i64,
    /// The prices of its attempts.
    prices: i64,
    /// The lines of its owner's statement.
    billed: i64,
}

type Checked = Result<(), String>;

impl Store {
    /// One transaction: all of the changes, or an account of what is wrong with them.
    pub fn apply(&mut self, changes: &Changes) -> Checked {
        for transfer in &changes.transfers {
            self.post(transfer)?;
        }
        for (account, units) in &changes.balances {
            *self.balances.entry(*account).or_default() += units;
        }
        if self.balances != self.recounted {
            return Err(format!("stored {:?}, re-added {:?}", self.balances, self.recounted));
        }
        for (run, block, table) in &changes.tables {
            self.tables.insert((*run, *block), ChunkTable::clone(table));
        }
        self.put_answers(changes)?;
        for task in &changes.tasks {
            self.put_task(task)?;
        }
        for attempt in changes.attempts.iter().chain(&changes.reopened) {
            self.check_bill(attempt)?;
            self.attempts.insert(Lease { task: attempt.task, attempt: attempt.attempt });
            self.purses.entry(attempt.task.run).or_default().prices += attempt.price.units();
        }
        self.records.extend(&changes.operators);
        self.windows.extend(&changes.windows);
        self.check_windows()?;
        for line in &changes.lines {
            self.put_line(line)?;
            if let (Some(run), Some(debit)) = (line.run, line.debit()) {
                self.purses.entry(run).or_default().billed += debit.units();
            }
        }
        for id in &changes.new_runs {
            if self.runs.contains_key(id) {
                return Err(format!("{id:?} is new and was there before"));
            }
        }
        let mut seen = BTreeSet::new();
        for run in &changes.runs {
            if !seen.insert(run.id) {
                return Err(format!("{:?} comes twice in one transaction", run.id));
            }
            let is_new = changes.new_runs.contains(&run.id);
            self.put_run(run, is_new)?;
        }
        self.put_caps(changes)?;
        self.timetables.apply(changes)?;
        self.timetables.check_overlap(&self.runs)?;
        self.put_stages(&changes.stages)?;
        for ended in changes.runs.iter().filter(|run| run.state.is_final()) {
            self.check_ended(ended)?;
        }
        if let Some(id) = changes.new_runs.iter().find(|id| !self.runs.contains_key(id)) {
            return Err(format!("{id:?} is new and was not stored"));
        }
        self.check_captures(changes)
    }
}

fn is_final(task: &TaskRecord) -> bool {
    matches!(task.state, TaskState::Done | TaskState::Failed)
}
