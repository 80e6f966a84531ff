//! Runs: as the doors read them, and as the coordinator stores them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use common::compute::resources::{Resources, Usage};
use common::ids::{JobId, RunId, WorkspaceId};
use common::market::{Counts, Run, RunRecord};
use common::money::credits::Credits;
use common::plan::{Phase, Plan};
use common::run::callback::Callback;
use common::run::cause::{Cause, CauseKind};
use common::run::spec::{Origin, Parent, RunScope, RunSpec};
use common::run::task::StageNo;
use common::run::{RunState, Times};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait as _, OnConflict, SelectStatement};
use sea_orm::{Condition, PaginatorTrait, QueryOrder, QuerySelect, QueryTrait as _};

use super::{chunk_tables, plans, resolutions, stages, values};
use crate::store::query::document;
use crate::store::query::rows;
use crate::store::query::rows::UnreadableRow;
use crate::store::row_groups;
use crate::store::{Db, corrupt, corrupt_by, micros, storable, time};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "runs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub job: Uuid,
    pub workspace: Uuid,
    /// The job's name when it was started.
    pub name: String,
    /// The digest of its plan.
    pub plan: String,
    /// JSON of its `RunScope`.
    pub scope: String,
    /// JSON of its `Terms`.
    pub terms: String,
    pub timeout_secs: Option<i64>,
    /// The run and its stage that it is a part of, or the run that it is a callback of.
    pub parent: Option<Uuid>,
    pub parent_stage: Option<i64>,
    /// What most of its tasks may use, so that a list of runs reads no plans.
    pub task_cpu_millis: i64,
    pub task_memory_mib: i64,
    pub task_timeout_secs: i64,
    pub state: String,
    pub phase: Option<String>,
    /// JSON of its `Times`.
    pub times: String,
    pub next_stage: i64,
    pub next_value: i64,
    /// What it gives at its end.
    pub output: Option<Vec<u8>>,
    /// How many elements its lists have, in all and as far as they are worked on.
    pub total: Option<i64>,
    pub found: Option<i64>,
    pub done: i64,
    pub held: i64,
    pub captured: i64,
    pub error: Option<String>,
    pub started_us: i64,
    pub ended_us: Option<i64>,
    /// When its hold was first given back and its line of the statement was written.
    pub settled_us: Option<i64>,
    /// Its data has been deleted from the bucket.
    pub purged: bool,
    pub template: String,
    /// What its paid attempts used.
    pub cpu_ms: i64,
    pub memory_mib_ms: i64,
    /// Accepted process tasks without results.
    pub empty: i64,
    pub warning: Option<String>,
    /// The kind of the cause whose message is `error`.
    pub cause: Option<String>,
    /// Why it was started: the name of an `Origin`.
    pub origin: String,
    /// The time that its job's schedule names for it.
    pub nominal_us: Option<i64>,
    /// JSON of its `Callback`s, where it has any.
    pub callbacks: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// How far nodes' clocks may be from the server's.
const CLOCKS_APART: TimeDelta = TimeDelta::hours(1);

/// Where a run stands among those of its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunPlace {
    pub started_at: DateTime<Utc>,
    pub run: RunId,
}

/// A run, without its plan.
#[derive(Debug, Clone, PartialEq)]
pub struct RunView {
    pub id: RunId,
    pub job: JobId,
    pub workspace: WorkspaceId,
    pub state: RunState,
    pub phase: Option<Phase>,
    pub times: Times,
    /// `None` until the chunks are known.
    pub chunks: Option<u32>,
    /// How many chunks the source has; a test run works on the first of them.
    pub found: Option<u32>,
    pub chunks_done: u32,
    /// What most of its tasks may use.
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
    /// Why it ended, where it did not succeed.
    pub cause: Option<Cause>,
    pub origin: Origin,
    /// What it gave, where its plan says what.
    pub output: Option<String>,
}

impl RunView {
    pub fn place(&self) -> RunPlace {
        let started_at = self.started_at().unwrap_or(DateTime::UNIX_EPOCH);
        RunPlace { started_at, run: self.id }
    }

    /// Why it ended, in words.
    pub fn error(&self) -> Option<&str> {
        self.cause.as_ref().map(|cause| cause.message.as_str())
    }

    /// Whether nothing more is done for it, and its price is known: one that is cancelled only
    /// waits for its nodes.
    pub fn has_ended(&self) -> bool {
        self.state.is_final() || self.state == RunState::Ending
    }

    /// When it was accepted.
    pub fn started_at(&self) -> Option<DateTime<Utc>> {
        self.times.of(RunState::Scheduled).or_else(|| self.times.began())
    }

    /// When it ended, or was cancelled.
    pub fn ended_at(&self) -> Option<DateTime<Utc>> {
        // One that is delivered again has failed before.
        let ended = self.times.of(RunState::Ending).or_else(|| self.times.ended());
        ended.filter(|_| self.has_ended())
    }
}

/// A run of this workspace. One that is a part of another run is not found by itself.
pub async fn find(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    run: RunId,
) -> Result<Option<RunView>, DbErr> {
    let found = by_id(workspace).filter(Column::Id.eq(run.uuid())).one(db).await?;
    found.as_ref().map(view).transpose()
}

/// The runs that tell how this one has ended, the oldest first.
pub async fn callbacks_of(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    run: RunId,
) -> Result<Vec<RunView>, DbErr> {
    let callbacks = Entity::find()
        .filter(Column::Workspace.eq(workspace.uuid()))
        .filter(Column::Parent.eq(run.uuid()))
        .filter(Column::Origin.eq(CALLBACK))
        .order_by_asc(Column::StartedUs)
        .order_by_asc(Column::Id);
    callbacks.all(db).await?.iter().map(view).collect()
}

/// Those of these runs that are of this workspace and no parts of others, in no order.
pub async fn find_many(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    runs: &[RunId],
) -> Result<Vec<RunView>, DbErr> {
    let ids = runs.iter().map(|run| run.uuid());
    of(workspace).filter(Column::Id.is_in(ids)).all(db).await?.iter().map(view).collect()
}

/// The runs of a job that were accepted before this one, the newest first.
pub async fn of_job(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    job: JobId,
    before: Option<RunPlace>,
    limit: u64,
) -> Result<Vec<RunView>, DbErr> {
    let mut runs = of(workspace).filter(Column::Job.eq(job.uuid()));
    if let Some(RunPlace { started_at, run }) = before {
        let same = Condition::all()
            .add(Column::StartedUs.eq(micros(started_at)))
            .add(Column::Id.lt(run.uuid()));
        let earlier = Column::StartedUs.lt(micros(started_at));
        runs = runs.filter(Condition::any().add(earlier).add(same));
    }
    let newest = runs.order_by_desc(Column::StartedUs).order_by_desc(Column::Id).limit(limit);
    newest.all(db).await?.iter().map(view).collect()
}

/// The runs of a job that have not ended.
pub async fn unfinished_of(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    job: JobId,
) -> Result<Vec<RunId>, DbErr> {
    let unfinished = of(workspace)
        .filter(Column::Job.eq(job.uuid()))
        .filter(Column::EndedUs.is_null())
        .select_only()
        .column(Column::Id);
    let ids: Vec<Uuid> = unfinished.into_tuple().all(db).await?;
    Ok(ids.into_iter().map(RunId::new).collect())
}

/// How many runs a job has in each state.
pub async fn count_of_job(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    job: JobId,
) -> Result<BTreeMap<RunState, u64>, DbErr> {
    let counted: Vec<(String, i64)> = of(workspace)
        .filter(Column::Job.eq(job.uuid()))
        .select_only()
        .column(Column::State)
        .column_as(Column::Id.count(), "runs")
        .group_by(Column::State)
        .into_tuple()
        .all(db)
        .await?;
    let count = |(state, runs): (String, i64)| {
        let state = RunState::from_name(&state).ok_or_else(|| corrupt("run state"))?;
        Ok((state, runs.unsigned_abs()))
    };
    counted.into_iter().map(count).collect()
}

/// Whether there is, or was, a run of this id.
pub async fn exists(db: &impl ConnectionTrait, run: RunId) -> Result<bool, DbErr> {
    Ok(Entity::find_by_id(run.uuid()).count(db).await? > 0)
}

/// The runs that can be asked for by their ids: all but parts of others.
fn by_id(workspace: WorkspaceId) -> Select<Entity> {
    Entity::find().filter(Column::Workspace.eq(workspace.uuid())).filter(Column::Origin.ne(PART))
}

/// The runs that their jobs show.
fn of(workspace: WorkspaceId) -> Select<Entity> {
    Entity::find().filter(Column::Workspace.eq(workspace.uuid())).filter(Column::Parent.is_null())
}

/// The ids of a job's runs that lived between two times, as far as their nodes' clocks go, the
/// newest first.
pub async fn of_job_between(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    job: JobId,
    (from, until): (DateTime<Utc>, DateTime<Utc>),
    limit: u64,
) -> Result<Vec<RunId>, DbErr> {
    let ended = Column::EndedUs.is_null().or(Column::EndedUs.gte(micros(from - CLOCKS_APART)));
    let rows: Vec<Uuid> = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::Job.eq(job.uuid()))
        .filter(Column::Workspace.eq(workspace.uuid()))
        .filter(Column::Parent.is_null())
        .filter(Column::StartedUs.lt(micros(until + CLOCKS_APART)))
        .filter(ended)
        .order_by_desc(Column::StartedUs)
        .order_by_desc(Column::Id)
        .limit(limit)
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows.into_iter().map(RunId::new).collect())
}

/// What a run does; `None` where there is no such run, or its plan cannot be read.
pub async fn plan(db: &impl ConnectionTrait, run: RunId) -> Result<Option<Plan>, DbErr> {
    let Some(row) = Entity::find_by_id(run.uuid()).one(db).await? else { return Ok(None) };
    Ok(plans::find(db, &row.plan).await.unwrap_or_default())
}

/// What the expressions of a run knew from its start; nothing where there is no such run.
pub async fn scope(db: &impl ConnectionTrait, run: RunId) -> Result<RunScope, DbErr> {
    let row = Entity::find_by_id(run.uuid()).one(db).await?;
    row.map_or_else(|| Ok(RunScope::default()), |row| document::read(&row.scope))
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

/// The ids of runs that ended before `then` and of which rows are in this table.
pub(in crate::store) fn with_rows_ended_before(
    table: &'static str,
    then: DateTime<Utc>,
    limit: u64,
) -> SelectStatement {
    let exist = format!("EXISTS (SELECT 1 FROM {table} WHERE {table}.run = runs.id)");
    Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::EndedUs.lt(micros(then)))
        .filter(Expr::cust(exist))
        .limit(limit)
        .into_query()
}

/// Whether the plan of a run that has not ended names this text.
pub async fn pins(db: &impl ConnectionTrait, text: &str) -> Result<bool, DbErr> {
    let plans = plans::Entity::find()
        .select_only()
        .column(plans::Column::Digest)
        .filter(plans::Column::Body.contains(text))
        .into_query();
    let unfinished = Entity::find().filter(Column::EndedUs.is_null());
    Ok(unfinished.filter(Column::Plan.in_subquery(plans)).count(db).await? > 0)
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

/// Whether a run's data has been deleted from the bucket.
pub async fn is_purged(db: &impl ConnectionTrait, run: RunId) -> Result<bool, DbErr> {
    let purged = Entity::find_by_id(run.uuid()).filter(Column::Purged.eq(true));
    Ok(purged.count(db).await? > 0)
}

/// A run that failed, with everything that it can go on from as long as its data is in the
/// bucket; `None` where it is not, or where there is no such run.
pub async fn failed(db: &impl ConnectionTrait, run: RunId) -> Result<Option<Run>, DbErr> {
    let row = Entity::find_by_id(run.uuid()).filter(Column::Purged.eq(false)).one(db).await?;
    let Some(row) = row else { return Ok(None) };
    let plans = plans::find_many(db, [row.plan.clone()].into()).await?;
    let mut found = Run::load(record(&row, &plans)?);
    for (block, table) in chunk_tables::of_run(db, run).await? {
        found = found.with_table(block, table);
    }
    let cut_off = stages::cut_off(db, run).await?;
    let mut found = cut_off.iter().fold(found, Run::with_stage);
    for (no, resolution) in resolutions::of_run(db, run).await? {
        found = found.with_resolution(no, resolution);
    }
    for value in values::of_run(db, run).await? {
        found = found.with_value(value);
    }
    Ok(Some(found))
}

/// The runs that have not ended, each read by itself; plans that several share are read once.
pub(in crate::store) async fn unfinished(
    db: &impl ConnectionTrait,
) -> Result<Vec<Result<RunRecord, UnreadableRow>>, DbErr> {
    let plans = unfinished_plans(db).await?;
    rows::each(db, Entity::find().filter(is_unfinished()), |row| record(&row, &plans)).await
}

/// A run that is cancelled has ended for its customer, and waits for its nodes to stop.
fn is_unfinished() -> Condition {
    Condition::any().add(Column::EndedUs.is_null()).add(Column::State.eq(RunState::Ending.as_str()))
}

async fn unfinished_plans(db: &impl ConnectionTrait) -> Result<BTreeMap<String, Plan>, DbErr> {
    let digests: Vec<String> = Entity::find()
        .filter(is_unfinished())
        .select_only()
        .column(Column::Plan)
        .distinct()
        .into_tuple()
        .all(db)
        .await?;
    plans::find_many(db, digests.into_iter().collect()).await
}

/// The ids of the runs whose data is still in the bucket, as a subquery.
pub(in crate::store) fn with_data() -> SelectStatement {
    let kept = Entity::find().filter(Column::Purged.eq(false));
    kept.select_only().column(Column::Id).into_query()
}

/// The ids of the runs that have not ended, as a subquery: there can be more than a statement
/// takes values.
pub(in crate::store) fn unfinished_ids() -> SelectStatement {
    let open = Entity::find().filter(Column::EndedUs.is_null());
    open.select_only().column(Column::Id).into_query()
}

/// Finds the runs that cannot be read.
pub(in crate::store) async fn check(db: &Db, found: &mut Vec<UnreadableRow>) -> Result<(), DbErr> {
    let plans = unfinished_plans(db).await?;
    rows::check::<Entity, _>(db, found, |row| match row.ended_us {
        None => record(&row, &plans).map(drop),
        Some(_) => view(&row).map(drop),
    })
    .await
}

fn record(row: &Model, plans: &BTreeMap<String, Plan>) -> Result<RunRecord, DbErr> {
    let view = view(row)?;
    let plan = plans.get(&row.plan).cloned().ok_or_else(|| corrupt("plan"))?;
    let number = |n: i64, what| u32::try_from(n).map_err(|_| corrupt(what));
    let spec = RunSpec {
        job: view.job,
        workspace: view.workspace,
        name: row.name.clone(),
        template: row.template.clone(),
        plan,
        scope: document::read(&row.scope).map_err(|error| corrupt_by("scope", &error))?,
        timeout_secs: row.timeout_secs.map(|secs| number(secs, "timeout")).transpose()?,
        terms: document::read(&row.terms).map_err(|error| corrupt_by("terms", &error))?,
        origin: view.origin,
        callbacks: match &row.callbacks {
            Some(text) => document::read(text).map_err(|error| corrupt_by("callbacks", &error))?,
            None => Vec::new(),
        },
    };
    Ok(RunRecord {
        id: view.id,
        spec: Arc::new(spec),
        state: view.state,
        phase: view.phase,
        times: view.times,
        next_stage: StageNo::new(number(row.next_stage, "stage")?),
        next_value: number(row.next_value, "value")?,
        output: view.output.map(Arc::from),
        counts: Counts {
            total: view.chunks,
            found: view.found,
            done: view.chunks_done,
            empty: view.empty,
        },
        held: view.held,
        captured: view.price,
        usage: Usage {
            cpu_ms: row.cpu_ms.unsigned_abs(),
            memory_mib_ms: row.memory_mib_ms.unsigned_abs(),
            ..Usage::default()
        },
        warning: view.warning,
        cause: view.cause,
    })
}

/// Stores runs as they stand now. What was ordered is written with the first version only.
pub(in crate::store) async fn put(
    db: &impl ConnectionTrait,
    runs: &[RunRecord],
    new: &BTreeSet<RunId>,
) -> Result<(), DbErr> {
    let mut packed = BTreeMap::new();
    let mut rows = Vec::with_capacity(runs.len());
    for record in runs {
        let is_new = new.contains(&record.id);
        let plan = if is_new { Some(plans::pack(&record.spec.plan)?) } else { None };
        let digest = plan.as_ref().map_or_else(String::new, |plan| plan.digest.clone());
        packed.extend(plan.map(|plan| (plan.digest.clone(), plan)));
        rows.push(row(record, digest)?);
    }
    plans::insert(db, packed).await?;
    for some in row_groups(&rows) {
        Entity::insert_many(some.iter().cloned())
            .on_conflict(
                OnConflict::column(Column::Id)
                    .update_columns([
                        Column::State,
                        Column::Phase,
                        Column::Times,
                        Column::NextStage,
                        Column::NextValue,
                        Column::Output,
                        Column::Total,
                        Column::Found,
                        Column::Done,
                        Column::Held,
                        Column::Captured,
                        Column::CpuMs,
                        Column::MemoryMibMs,
                        Column::Empty,
                        Column::Warning,
                        Column::Error,
                        Column::Cause,
                        Column::EndedUs,
                        Column::SettledUs,
                    ])
                    .to_owned(),
            )
            .exec_without_returning(db)
            .await?;
    }
    Ok(())
}

fn row(record: &RunRecord, plan: String) -> Result<ActiveModel, DbErr> {
    let spec = &record.spec;
    let times = &record.times;
    let ended = times.of(RunState::Ending).or_else(|| times.ended());
    let is_open = !record.state.is_final() && record.state != RunState::Ending;
    let ended = ended.filter(|_| !is_open);
    let started = times.of(RunState::Scheduled).or_else(|| times.began());
    let task = spec.plan.typical_task();
    let needs = task.map_or(Resources::NONE, |task| task.container.needs);
    Ok(ActiveModel {
        id: Set(record.id.uuid()),
        job: Set(spec.job.uuid()),
        workspace: Set(spec.workspace.uuid()),
        name: Set(storable(&spec.name)),
        plan: Set(plan),
        scope: Set(document::unproven(&spec.scope)?),
        terms: Set(document::unproven(&spec.terms)?),
        timeout_secs: Set(spec.timeout_secs.map(i64::from)),
        parent: Set(parent(spec.origin).map(RunId::uuid)),
        parent_stage: Set(spec.parent().map(|parent| parent.stage.number().into())),
        callbacks: Set(callbacks(&spec.callbacks)?),
        origin: Set(origin_name(spec.origin).to_owned()),
        nominal_us: Set(spec.origin.nominal().map(micros)),
        task_cpu_millis: Set(needs.cpu_millis.into()),
        task_memory_mib: Set(needs.memory_mib.into()),
        task_timeout_secs: Set(task.map_or(0, |task| task.timeout_secs.into())),
        state: Set(record.state.as_str().to_owned()),
        phase: Set(record.phase.map(|phase| phase.as_str().to_owned())),
        times: Set(document::unproven(&record.times)?),
        next_stage: Set(record.next_stage.number().into()),
        next_value: Set(record.next_value.into()),
        output: Set(record.output.as_ref().map(|output| output.as_bytes().to_vec())),
        total: Set(record.counts.total.map(i64::from)),
        found: Set(record.counts.found.map(i64::from)),
        done: Set(record.counts.done.into()),
        held: Set(record.held.units()),
        captured: Set(record.captured.units()),
        error: Set(record.cause.as_ref().map(|cause| storable(&cause.message))),
        cause: Set(record.cause.as_ref().map(|cause| cause.kind.as_str().to_owned())),
        started_us: Set(started.map_or(0, micros)),
        ended_us: Set(ended.map(micros)),
        settled_us: Set(times.settled().map(micros)),
        purged: Set(false),
        template: Set(storable(&spec.template)),
        cpu_ms: Set(i64::try_from(record.usage.cpu_ms).unwrap_or(i64::MAX)),
        memory_mib_ms: Set(i64::try_from(record.usage.memory_mib_ms).unwrap_or(i64::MAX)),
        empty: Set(record.counts.empty.into()),
        warning: Set(record.warning.clone()),
    })
}

fn view(row: &Model) -> Result<RunView, DbErr> {
    let count = |n: i64| u32::try_from(n).map_err(|_| corrupt("count of chunks"));
    Ok(RunView {
        id: RunId::new(row.id),
        job: JobId::new(row.job),
        workspace: WorkspaceId::new(row.workspace),
        state: RunState::from_name(&row.state).ok_or_else(|| corrupt("run state"))?,
        phase: row
            .phase
            .as_deref()
            .map(|name| Phase::from_name(name).ok_or_else(|| corrupt("phase")))
            .transpose()?,
        times: document::read(&row.times).map_err(|error| corrupt_by("times", &error))?,
        chunks: row.total.map(count).transpose()?,
        found: row.found.map(count).transpose()?,
        chunks_done: count(row.done)?,
        needs: Resources::new(count(row.task_cpu_millis)?, count(row.task_memory_mib)?),
        task_timeout_secs: count(row.task_timeout_secs)?,
        held: Credits::from_units(row.held).ok_or_else(|| corrupt("hold"))?,
        price: Credits::from_units(row.captured).ok_or_else(|| corrupt("price"))?,
        empty: count(row.empty)?,
        warning: row.warning.clone(),
        cause: cause(row)?,
        origin: origin(row)?,
        output: row.output.clone().map(text).transpose()?,
    })
}

fn text(bytes: Vec<u8>) -> Result<String, DbErr> {
    String::from_utf8(bytes).map_err(|_| corrupt("output"))
}

const MANUAL: &str = "manual";
const SCHEDULE: &str = "schedule";
const PART: &str = "part";
const CALLBACK: &str = "callback";
const DETACHED: &str = "detached";

const fn origin_name(origin: Origin) -> &'static str {
    match origin {
        Origin::Manual => MANUAL,
        Origin::Schedule(_) => SCHEDULE,
        Origin::Part(_) => PART,
        Origin::Callback(_) => CALLBACK,
        Origin::Detached => DETACHED,
    }
}

/// The run that this one belongs to.
const fn parent(origin: Origin) -> Option<RunId> {
    match origin {
        Origin::Manual | Origin::Schedule(_) | Origin::Detached => None,
        Origin::Part(parent) => Some(parent.run),
        Origin::Callback(run) => Some(run),
    }
}

fn callbacks(callbacks: &[Callback]) -> Result<Option<String>, DbErr> {
    if callbacks.is_empty() { Ok(None) } else { document::unproven(&callbacks).map(Some) }
}

fn origin(row: &Model) -> Result<Origin, DbErr> {
    match (row.origin.as_str(), row.parent, row.parent_stage, row.nominal_us) {
        (MANUAL, None, None, None) => Ok(Origin::Manual),
        (DETACHED, None, None, None) => Ok(Origin::Detached),
        (SCHEDULE, None, None, Some(at)) => Ok(Origin::Schedule(time(at))),
        (PART, Some(run), Some(stage), None) => {
            let stage = u32::try_from(stage).map_err(|_| corrupt("stage"))?;
            Ok(Origin::Part(Parent { run: RunId::new(run), stage: StageNo::new(stage) }))
        }
        (CALLBACK, Some(run), None, None) => Ok(Origin::Callback(RunId::new(run))),
        (_, _, _, _) => Err(corrupt("origin of run")),
    }
}

fn cause(row: &Model) -> Result<Option<Cause>, DbErr> {
    let Some(message) = row.error.clone() else { return Ok(None) };
    let kind = row.cause.as_deref().and_then(CauseKind::from_name);
    Ok(Some(Cause { kind: kind.ok_or_else(|| corrupt("cause"))?, message }))
}
