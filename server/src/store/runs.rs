//! Runs: as the doors read them, and as the coordinator stores them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use common::credits::Credits;
use common::ids::{JobId, RunId, WorkspaceId};
use common::market::{Run, RunRecord};
use common::resources::{Resources, Usage};
use common::run::RunState;
use common::spec::{Limits, RunSpec};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{OnConflict, SelectStatement};
use sea_orm::{ActiveValue::Set, PaginatorTrait, QueryOrder, QuerySelect, QueryTrait as _};
use serde::Deserialize;

use super::rows::{self, UnreadableRow};
use super::{Db, batches, chunk_tables, corrupt, corrupt_by, document, micros, storable};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "runs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub job: Uuid,
    pub workspace: Uuid,
    /// JSON of the `RunSpec`; written once.
    pub spec: String,
    pub state: String,
    /// JSON: state → when it was entered.
    pub times: String,
    pub total: Option<i64>,
    /// How many chunks the source has.
    pub found: Option<i64>,
    pub next: i64,
    pub chunks_done: i64,
    pub held: i64,
    pub captured: i64,
    pub error: Option<String>,
    pub ended_us: Option<i64>,
    /// Its data has been deleted from the bucket.
    pub purged: bool,
    pub template: String,
    /// What its paid attempts used.
    pub cpu_ms: i64,
    pub memory_mib_ms: i64,
    /// Accepted process tasks without results.
    pub empty: i64,
    pub warning: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A run, without its spec.
#[derive(Debug, Clone, PartialEq)]
pub struct RunView {
    pub id: RunId,
    pub job: JobId,
    pub workspace: WorkspaceId,
    pub state: RunState,
    /// When each state was entered.
    pub times: BTreeMap<RunState, DateTime<Utc>>,
    /// `None` until the chunks are known.
    pub chunks: Option<u32>,
    /// How many chunks the source has; a test run works on the first of them.
    pub found: Option<u32>,
    pub chunks_done: u32,
    /// What its process tasks may use; nothing where its spec cannot be read.
    pub needs: Resources,
    pub task_timeout_secs: u32,
    /// What it has reserved.
    pub held: Credits,
    /// The exact sum of the prices of its attempts.
    pub price: Credits,
    /// Accepted process tasks without results.
    pub empty: u32,
    /// What its customer should know, though it went on.
    pub warning: Option<String>,
    pub error: Option<String>,
}

/// Whether there is a run of this id, ended or not.
pub async fn exists(db: &impl ConnectionTrait, run: RunId) -> Result<bool, DbErr> {
    Ok(Entity::find_by_id(run.uuid()).count(db).await? > 0)
}

/// The latest run of a job of this workspace.
pub async fn find_by_job(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    job: JobId,
) -> Result<Option<RunView>, DbErr> {
    let row = Entity::find()
        .filter(Column::Job.eq(job.uuid()))
        .filter(Column::Workspace.eq(workspace.uuid()))
        .order_by_desc(Column::Id)
        .one(db)
        .await?;
    row.as_ref().map(view).transpose()
}

/// The runs of these jobs, in no order.
pub async fn find_by_jobs(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    jobs: &[JobId],
) -> Result<Vec<RunView>, DbErr> {
    let rows = Entity::find()
        .filter(Column::Job.is_in(jobs.iter().map(|job| job.uuid())))
        .filter(Column::Workspace.eq(workspace.uuid()))
        .all(db)
        .await?;
    rows.iter().map(view).collect()
}

/// What a run is pinned to; `None` where there is no such run, or it cannot be read.
pub async fn spec(db: &impl ConnectionTrait, run: RunId) -> Result<Option<RunSpec>, DbErr> {
    let row = Entity::find_by_id(run.uuid()).one(db).await?;
    Ok(row.and_then(|row| document::read(&row.spec).ok()))
}

/// Runs that ended before `then` and whose data is still in the bucket, oldest first.
pub async fn ended_before(
    db: &impl ConnectionTrait,
    then: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<(RunId, JobId)>, DbErr> {
    let rows: Vec<(Uuid, Uuid)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::Job])
        .filter(Column::Purged.eq(false))
        .filter(Column::EndedUs.lt(micros(then)))
        .order_by_asc(Column::EndedUs)
        .limit(limit)
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows.into_iter().map(|(id, job)| (RunId::new(id), JobId::new(job))).collect())
}

/// The ids of runs that ended before `then` and whose logs are there.
pub(super) fn with_logs_ended_before(then: DateTime<Utc>, limit: u64) -> SelectStatement {
    Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::EndedUs.lt(micros(then)))
        .filter(Expr::cust("EXISTS (SELECT 1 FROM task_logs WHERE task_logs.run = runs.id)"))
        .limit(limit)
        .into_query()
}

/// Whether a run that has not ended names this text in what it is pinned to.
pub async fn pins(db: &impl ConnectionTrait, text: &str) -> Result<bool, DbErr> {
    let unfinished = Entity::find().filter(Column::EndedUs.is_null());
    Ok(unfinished.filter(Column::Spec.contains(text)).count(db).await? > 0)
}

/// Notes that a run's data has been deleted from the bucket.
pub async fn set_purged(db: &impl ConnectionTrait, run: RunId) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::Purged, Expr::value(true))
        .filter(Column::Id.eq(run.uuid()))
        .exec(db)
        .await?;
    Ok(())
}

/// A run with its chunks, as long as its data is in the bucket; `None` where it is not, or where
/// there is no such run.
pub async fn whole(db: &impl ConnectionTrait, run: RunId) -> Result<Option<Run>, DbErr> {
    let row = Entity::find_by_id(run.uuid()).filter(Column::Purged.eq(false)).one(db).await?;
    let Some(row) = row else { return Ok(None) };
    let found = Run::load(record(&row)?);
    let table = chunk_tables::chunks(db, run).await?;
    Ok(Some(match table {
        Some(table) => found.with_chunks(table),
        None => found,
    }))
}

/// The runs that have not ended, each read by itself.
pub(super) async fn unfinished(
    db: &impl ConnectionTrait,
) -> Result<Vec<Result<RunRecord, UnreadableRow>>, DbErr> {
    let open = Entity::find().filter(Column::EndedUs.is_null());
    rows::each(db, open, |row| record(&row)).await
}

/// The ids of the runs whose data is still in the bucket, as a subquery.
pub(super) fn with_data() -> SelectStatement {
    let kept = Entity::find().filter(Column::Purged.eq(false));
    kept.select_only().column(Column::Id).into_query()
}

/// The ids of the runs that have not ended, as a subquery: there can be more than a statement
/// takes values.
pub(super) fn unfinished_ids() -> SelectStatement {
    let open = Entity::find().filter(Column::EndedUs.is_null());
    open.select_only().column(Column::Id).into_query()
}

/// Finds the runs that cannot be read.
pub(super) async fn check(db: &Db, found: &mut Vec<UnreadableRow>) -> Result<(), DbErr> {
    rows::check::<Entity, _>(db, found, |row| match row.ended_us {
        None => record(&row).map(drop),
        Some(_) => view(&row).map(drop),
    })
    .await
}

fn record(row: &Model) -> Result<RunRecord, DbErr> {
    let spec: RunSpec = document::read(&row.spec).map_err(|error| corrupt_by("spec", &error))?;
    let view = view(row)?;
    Ok(RunRecord {
        id: view.id,
        spec: Arc::new(spec),
        state: view.state,
        times: view.times,
        total: view.chunks,
        found: view.found,
        next: u32::try_from(row.next).map_err(|_| corrupt("chunk number"))?,
        chunks_done: view.chunks_done,
        held: view.held,
        captured: view.price,
        usage: Usage {
            cpu_ms: row.cpu_ms.unsigned_abs(),
            memory_mib_ms: row.memory_mib_ms.unsigned_abs(),
            ..Usage::default()
        },
        empty: view.empty,
        warning: view.warning,
        error: view.error,
    })
}

/// Stores runs as they stand now. The spec is written with the first version only.
pub(super) async fn put(
    db: &impl ConnectionTrait,
    runs: &[RunRecord],
    new: &BTreeSet<RunId>,
) -> Result<(), DbErr> {
    for some in batches(runs) {
        let mut rows = Vec::with_capacity(some.len());
        for record in some {
            rows.push(row(record, new.contains(&record.id))?);
        }
        Entity::insert_many(rows)
            .on_conflict(
                OnConflict::column(Column::Id)
                    .update_columns([
                        Column::State,
                        Column::Times,
                        Column::Total,
                        Column::Found,
                        Column::Next,
                        Column::ChunksDone,
                        Column::Held,
                        Column::Captured,
                        Column::CpuMs,
                        Column::MemoryMibMs,
                        Column::Empty,
                        Column::Warning,
                        Column::Error,
                        Column::EndedUs,
                    ])
                    .to_owned(),
            )
            .exec_without_returning(db)
            .await?;
    }
    Ok(())
}

fn row(record: &RunRecord, is_new: bool) -> Result<ActiveModel, DbErr> {
    let spec = if is_new { document::unproven(&*record.spec)? } else { String::new() };
    let ended = record.state.is_final().then(|| record.times.get(&record.state)).flatten();
    Ok(ActiveModel {
        id: Set(record.id.uuid()),
        job: Set(record.spec.job.uuid()),
        workspace: Set(record.spec.workspace.uuid()),
        spec: Set(spec),
        state: Set(record.state.as_str().to_owned()),
        times: Set(document::unproven(&record.times)?),
        total: Set(record.total.map(i64::from)),
        found: Set(record.found.map(i64::from)),
        next: Set(record.next.into()),
        chunks_done: Set(record.chunks_done.into()),
        held: Set(record.held.units()),
        captured: Set(record.captured.units()),
        error: Set(record.error.as_deref().map(storable)),
        ended_us: Set(ended.copied().map(micros)),
        purged: Set(false),
        template: Set(storable(&record.spec.template)),
        cpu_ms: Set(i64::try_from(record.usage.cpu_ms).unwrap_or(i64::MAX)),
        memory_mib_ms: Set(i64::try_from(record.usage.memory_mib_ms).unwrap_or(i64::MAX)),
        empty: Set(record.empty.into()),
        warning: Set(record.warning.clone()),
    })
}

/// What of a `RunSpec` tells what its tasks may cost.
#[derive(Deserialize)]
struct Priced {
    process: Needing,
    limits: Limits,
}

#[derive(Deserialize)]
struct Needing {
    needs: Resources,
}

fn view(row: &Model) -> Result<RunView, DbErr> {
    // A run that was set aside may have a spec that cannot be read.
    let (needs, task_timeout_secs) = match document::read(&row.spec) {
        Ok(Priced { process, limits }) => (process.needs, limits.task_timeout_secs),
        Err(_) => (Resources::NONE, 0),
    };
    let count = |n: i64| u32::try_from(n).map_err(|_| corrupt("count of chunks"));
    Ok(RunView {
        id: RunId::new(row.id),
        job: JobId::new(row.job),
        workspace: WorkspaceId::new(row.workspace),
        state: RunState::from_name(&row.state).ok_or_else(|| corrupt("run state"))?,
        times: document::read(&row.times).map_err(|error| corrupt_by("times", &error))?,
        chunks: row.total.map(count).transpose()?,
        found: row.found.map(count).transpose()?,
        chunks_done: count(row.chunks_done)?,
        needs,
        task_timeout_secs,
        held: Credits::from_units(row.held).ok_or_else(|| corrupt("hold"))?,
        price: Credits::from_units(row.captured).ok_or_else(|| corrupt("price"))?,
        empty: count(row.empty)?,
        warning: row.warning.clone(),
        error: row.error.clone(),
    })
}
