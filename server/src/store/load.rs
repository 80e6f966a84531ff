//! Everything that has not ended, to go on from.

use std::collections::{BTreeMap, BTreeSet};

use common::chunks::ChunkTable;
use common::ids::{NodeId, RunId};
use common::market::{Run, Stored, TableKind};
use sea_orm::{ConnectionTrait, DbErr};

use super::{chunk_tables, ledger, nodes, runs, tasks, trust, wallet};

/// Reads what the market needs in memory. The cost grows with what is unfinished, not with what
/// waits or has ended.
pub async fn load(db: &impl ConnectionTrait) -> Result<Stored, DbErr> {
    let records = runs::unfinished(db).await?;
    let ids: Vec<RunId> = records.iter().map(|run| run.id).collect();
    let mut sources: BTreeMap<RunId, ChunkTable> = BTreeMap::new();
    let mut chunks: BTreeMap<RunId, ChunkTable> = BTreeMap::new();
    for (run, kind, table) in chunk_tables::find(db, &ids).await? {
        match kind {
            TableKind::Source => sources.insert(run, table),
            TableKind::Chunks => chunks.insert(run, table),
        };
    }
    let runs = records
        .into_iter()
        .map(|record| {
            let id = record.id;
            let mut run = Run::load(record);
            if let Some(table) = sources.remove(&id) {
                run = run.with_source(table);
            }
            if let Some(table) = chunks.remove(&id) {
                run = run.with_chunks(table);
            }
            run
        })
        .collect();
    let tasks = tasks::unfinished(db, &ids).await?;
    let holders: BTreeSet<NodeId> = tasks.iter().filter_map(|task| task.node).collect();
    let operators = nodes::operators(db, &holders).await?;
    let (ledger, statements) = (ledger::load(db).await?, wallet::load_heads(db).await?);
    let (records, windows) = (trust::records(db).await?, trust::windows(db).await?);
    Ok(Stored { runs, tasks, operators, ledger, statements, records, windows })
}
