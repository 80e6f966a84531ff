//! Runs: as use cases read them. How the coordinator stores them is in `record`.

mod origin;
pub mod purge;
pub(in crate::store) mod record;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use common::compute::resources::Resources;
use common::ids::{JobId, RunId, WorkspaceId};
use common::money::credits::Credits;
use common::plan::{Phase, Plan};
use common::run::cause::{Cause, CauseKind};
use common::run::spec::{Origin, RunScope};
use common::run::{RunState, Times};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait as _;
use sea_orm::{Condition, PaginatorTrait, QueryOrder, QuerySelect};

use self::origin::{CALLBACK, DETACHED, PART, origin};
use super::plans;
use crate::store::query::document;
use crate::store::{corrupt, corrupt_by, micros};

pub use self::record::ended;
pub(in crate::store) use self::record::{check, put, unfinished, unfinished_ids};

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
    /// The run and its stage that have started it, or the run that it is a callback of.
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
    /// The part of what it cost that lines of the statement say.
    pub billed: i64,
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
        self.times.ended(self.state)
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
    Entity::find().filter(Column::Workspace.eq(workspace.uuid())).filter(is_shown())
}

/// Whether a run is a part or a callback of no other.
fn is_shown() -> Condition {
    Condition::any().add(Column::Parent.is_null()).add(Column::Origin.eq(DETACHED))
}

/// A run of this workspace, whether it is a part of another one or not.
pub(super) async fn any(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    run: RunId,
) -> Result<Option<RunView>, DbErr> {
    let found = Entity::find_by_id(run.uuid()).filter(Column::Workspace.eq(workspace.uuid()));
    found.one(db).await?.as_ref().map(view).transpose()
}

/// The runs of these ids of this workspace, whether they are parts of others or not, in no order.
pub(super) async fn any_of(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    runs: &[RunId],
) -> Result<Vec<RunView>, DbErr> {
    let found = Entity::find()
        .filter(Column::Workspace.eq(workspace.uuid()))
        .filter(Column::Id.is_in(runs.iter().map(|run| run.uuid())));
    found.all(db).await?.iter().map(view).collect()
}

/// Whether a run was started by another one as a part of its work.
pub(super) fn is_started_by_another() -> Condition {
    Condition::all().add(Column::Parent.is_not_null()).add(Column::Origin.is_in([PART, DETACHED]))
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
        .filter(is_shown())
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

pub(in crate::store) fn view(row: &Model) -> Result<RunView, DbErr> {
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

fn cause(row: &Model) -> Result<Option<Cause>, DbErr> {
    let Some(message) = row.error.clone() else { return Ok(None) };
    let kind = row.cause.as_deref().and_then(CauseKind::from_name);
    Ok(Some(Cause { kind: kind.ok_or_else(|| corrupt("cause"))?, message }))
}
