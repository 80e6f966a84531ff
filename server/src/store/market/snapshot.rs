//! Everything that has not ended, to go on from. One row that cannot be read ends its own run and
//! nothing else.

use std::collections::{BTreeMap, BTreeSet};

use common::data::chunk_table::ChunkTable;
use common::ids::{NodeId, RunId, WorkspaceId};
use common::market::{
    Resolution, Run, RunRecord, StageRecord, Stored, TaskRecord, Unreadable, ValueRecord,
};
use common::money::credits::Credits;
use common::money::ledger::{Account, Ledger};
use common::plan::BlockId;
use common::run::RunState;
use common::run::task::StageNo;
use sea_orm::{ConnectionTrait, DbErr};

use super::stages::{chunk_tables, resolutions, values};
use super::{runs, set_aside, stages, tasks};
use crate::store::money::{ledger, spend_caps, statement};
use crate::store::nodes;
use crate::store::nodes::trust;
use crate::store::query::rows::UnreadableRow;
use crate::store::{Db, queues, schedules};

/// Reads what the market needs in memory. The cost grows with what is unfinished, not with what
/// waits or has ended.
pub async fn load(db: &Db) -> Result<Stored, DbErr> {
    let mut broken = Broken::default();
    let records: Vec<RunRecord> = broken.sift(runs::unfinished(db).await?);
    let mut tables: BTreeMap<RunId, Vec<(BlockId, ChunkTable)>> = BTreeMap::new();
    for (run, block, table) in broken.sift(chunk_tables::unfinished(db).await?) {
        tables.entry(run).or_default().push((block, table));
    }
    let mut stages: BTreeMap<RunId, Vec<StageRecord>> = BTreeMap::new();
    for stage in broken.sift(stages::unfinished(db).await?) {
        stages.entry(stage.run).or_default().push(stage);
    }
    let mut resolved: BTreeMap<RunId, Vec<(StageNo, Resolution)>> = BTreeMap::new();
    for (run, no, resolution) in broken.sift(resolutions::unfinished(db).await?) {
        resolved.entry(run).or_default().push((no, resolution));
    }
    let mut given: BTreeMap<RunId, Vec<ValueRecord>> = BTreeMap::new();
    for value in broken.sift(values::unfinished(db).await?) {
        given.entry(value.run).or_default().push(value);
    }
    let mut tasks: Vec<TaskRecord> = broken.sift(tasks::unfinished(db).await?);
    let (ledger, statements) = (ledger::load(db).await?, statement::load_heads(db).await?);
    let unreadable = broken.settle(db, &records, &ledger).await?;

    tasks.retain(|task| !broken.runs.contains(&task.task.run));
    let readable = records.into_iter().filter(|record| !broken.runs.contains(&record.id));
    let (stopping, going): (Vec<RunRecord>, Vec<RunRecord>) =
        readable.partition(|record| record.state == RunState::Ending);
    let runs = going
        .into_iter()
        .map(|record| {
            let id = record.id;
            let tables = tables.remove(&id).unwrap_or_default().into_iter();
            let run =
                tables.fold(Run::load(record), |run, (block, table)| run.with_table(block, table));
            let stages = stages.remove(&id).unwrap_or_default();
            let run = stages.iter().fold(run, Run::with_stage);
            let resolved = resolved.remove(&id).unwrap_or_default().into_iter();
            let run = resolved.fold(run, |run, (no, of)| run.with_resolution(no, of));
            given.remove(&id).unwrap_or_default().into_iter().fold(run, Run::with_value)
        })
        .collect();
    let holders: BTreeSet<NodeId> = tasks.iter().filter_map(|task| task.node).collect();
    let operators = nodes::operators(db, &holders).await?;
    let (records, windows) = (trust::records(db).await?, trust::windows(db).await?);
    let schedules = schedules::planned(db).await?;
    Ok(Stored {
        runs,
        stopping,
        unreadable,
        tasks,
        operators,
        ledger,
        statements,
        records,
        windows,
        schedules,
        queues: queues::rules(db).await?,
        caps: spend_caps::load(db).await?,
    })
}

/// The unfinished runs of which something cannot be read.
#[derive(Default)]
struct Broken {
    runs: BTreeSet<RunId>,
}

impl Broken {
    /// Keeps what could be read, and notes the runs of what could not.
    fn sift<T>(&mut self, rows: Vec<Result<T, UnreadableRow>>) -> Vec<T> {
        let readable = |row: Result<T, UnreadableRow>| {
            row.inspect_err(|UnreadableRow { table, id, why }| {
                tracing::error!(
                    table,
                    id,
                    error = why,
                    "a row cannot be read; its run is set aside"
                );
                // The first part of each of these keys is the run's id.
                let run: Option<RunId> = id.split('/').next().and_then(|id| id.parse().ok());
                self.runs.extend(run);
            })
            .ok()
        };
        rows.into_iter().filter_map(readable).collect()
    }

    /// What the ledger says of the broken runs. Where a workspace's runs do not hold together what
    /// it has on hold, those whose own number is wrong are broken too.
    async fn settle(
        &mut self,
        db: &impl ConnectionTrait,
        records: &[RunRecord],
        ledger: &Ledger,
    ) -> Result<Vec<Unreadable>, DbErr> {
        let mut unreadable = BTreeMap::new();
        for run in &self.runs {
            unreadable.insert(*run, set_aside::find(db, *run).await?);
        }
        let mut held: BTreeMap<WorkspaceId, Credits> = BTreeMap::new();
        let own = records.iter().filter(|record| !self.runs.contains(&record.id));
        let own = own.map(|record| (record.spec.workspace, record.held));
        let lost = unreadable.values().filter_map(|run| Some((run.workspace?, run.held)));
        for (workspace, amount) in own.chain(lost) {
            let sum = held.entry(workspace).or_default();
            *sum = sum.saturating_add(amount);
        }
        held.retain(|workspace, sum| ledger.balance(Account::Held(*workspace)) != *sum);
        for record in records {
            if !held.contains_key(&record.spec.workspace) || self.runs.contains(&record.id) {
                continue;
            }
            let found = set_aside::find(db, record.id).await?;
            if found.held != record.held {
                tracing::error!(run = %record.id, "a run's hold is not what the ledger says");
                self.runs.insert(record.id);
                unreadable.insert(record.id, found);
            }
        }
        Ok(unreadable.into_values().collect())
    }
}

#[cfg(test)]
mod flow_tests;
#[cfg(test)]
mod tests;
