//! Runs of ordered plans: in lists, and what became of their blocks.

use std::collections::{BTreeMap, HashMap};

use common::ids::{JobId, RunId, WorkspaceId};
use common::market::TaskState;
use common::money::credits::Credits;
use common::protocol::{Outcome, Receipt, ReceiptHead};
use common::run::RunState;
use common::run::task::{Lease, TaskRef};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{LikeExpr, SelectStatement};
use sea_orm::{Condition, PaginatorTrait, QueryOrder, QuerySelect, QueryTrait as _};
use uuid::Uuid;

use super::runs::RunView;
use super::stages::values;
use super::tasks::TaskView;
use super::tasks::attempts;
use super::{runs, stages, tasks};
use crate::store::jobs::record::row as jobs;
use crate::store::jobs::{ApiName, JobKind};
use crate::store::query::document;
use crate::store::{corrupt, stage_no, time};

/// The bits of a run's id that names of its tasks leave as they are.
const SHARED_BITS: u32 = 64;

/// A run in a list.
#[derive(Debug, Clone)]
pub struct Listed {
    pub run: RunId,
    pub job: JobId,
    pub state: RunState,
    /// The name of its job.
    pub name: String,
    pub description: String,
}

/// A run of this workspace, whether another one has started it or not.
pub async fn find(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    run: RunId,
) -> Result<Option<RunView>, DbErr> {
    runs::any(db, workspace, run).await
}

/// The same of several, in no order.
pub async fn find_many(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    of: &[RunId],
) -> Result<Vec<RunView>, DbErr> {
    runs::any_of(db, workspace, of).await
}

/// The latest runs of an API's jobs, all that their schedules have made, and all that other runs
/// have started: the newest first, after so many and at most so many, and how many there are. Where
/// there are tags, only of jobs with one of them.
pub async fn list(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    api: &ApiName,
    tags: &[String],
    (skipped, limit): (u64, u64),
) -> Result<(Vec<Listed>, u64), DbErr> {
    let of_jobs = plans(workspace, api, tags)?;
    let ids = of_jobs.clone().select_only().column(jobs::Column::Id).into_query();
    let latest = of_jobs.clone().filter(jobs::Column::Run.is_not_null());
    let latest = latest.select_only().column(jobs::Column::Run).into_query();
    let listed = runs::Entity::find()
        .filter(runs::Column::Workspace.eq(workspace.uuid()))
        .filter(runs::Column::Job.in_subquery(ids.clone()))
        .filter(
            Condition::any()
                .add(runs::Column::Id.in_subquery(latest))
                .add(runs::Column::NominalUs.is_not_null())
                .add(runs::is_started_by_another()),
        );
    let total = listed.clone().count(db).await?;
    let rows: Vec<(Uuid, Uuid, String, String)> = listed
        .select_only()
        .columns([runs::Column::Id, runs::Column::Job, runs::Column::State, runs::Column::Name])
        .order_by_desc(runs::Column::StartedUs)
        .order_by_desc(runs::Column::Id)
        .offset(skipped)
        .limit(limit)
        .into_tuple()
        .all(db)
        .await?;
    let mut descriptions = descriptions(db, ids).await?;
    let listed = |(run, job, state, name): (Uuid, Uuid, String, String)| {
        Ok(Listed {
            run: RunId::new(run),
            job: JobId::new(job),
            state: RunState::from_name(&state).ok_or_else(|| corrupt("run state"))?,
            name,
            description: descriptions.entry(job).or_default().clone(),
        })
    };
    Ok((rows.into_iter().map(listed).collect::<Result<_, DbErr>>()?, total))
}

/// The descriptions of jobs that have one.
async fn descriptions(
    db: &impl ConnectionTrait,
    ids: SelectStatement,
) -> Result<HashMap<Uuid, String>, DbErr> {
    let described = jobs::Entity::find()
        .filter(jobs::Column::Id.in_subquery(ids))
        .filter(jobs::Column::Description.ne(""));
    let rows: Vec<(Uuid, String)> = described
        .select_only()
        .columns([jobs::Column::Id, jobs::Column::Description])
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows.into_iter().collect())
}

/// The ordered plans that an API has made.
fn plans(
    workspace: WorkspaceId,
    api: &ApiName,
    tags: &[String],
) -> Result<Select<jobs::Entity>, DbErr> {
    let found = jobs::Entity::find()
        .filter(jobs::Column::Workspace.eq(workspace.uuid()))
        .filter(jobs::Column::Kind.eq(JobKind::Plan.as_str()))
        .filter(jobs::Column::Api.eq(api.0.as_ref()))
        .filter(jobs::Column::DeletedUs.is_null());
    if tags.is_empty() {
        return Ok(found);
    }
    let mut any = Condition::any();
    for tag in tags {
        let text = document::write(tag)?;
        let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        let pattern = LikeExpr::new(format!("%{escaped}%")).escape('\\');
        any = any.add(jobs::Column::Tags.like(pattern));
    }
    Ok(found.filter(any))
}

/// Those of the jobs that are plans which an API has made.
pub async fn of_api(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    api: &ApiName,
    ids: &[JobId],
) -> Result<Vec<JobId>, DbErr> {
    let ids = ids.iter().map(|id| id.uuid());
    let found = plans(workspace, api, &[])?.filter(jobs::Column::Id.is_in(ids));
    let ids: Vec<Uuid> = found.select_only().column(jobs::Column::Id).into_tuple().all(db).await?;
    Ok(ids.into_iter().map(JobId::new).collect())
}

/// The runs of a workspace whose tasks may have an id that begins as this one.
pub async fn near(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: Uuid,
) -> Result<Vec<RunId>, DbErr> {
    let first = id.as_u128() >> SHARED_BITS << SHARED_BITS;
    let last = first | (u128::MAX >> SHARED_BITS);
    let near = runs::Entity::find()
        .filter(runs::Column::Workspace.eq(workspace.uuid()))
        .filter(
            Condition::any().add(runs::Column::Parent.is_null()).add(runs::is_started_by_another()),
        )
        .filter(runs::Column::Id.between(Uuid::from_u128(first), Uuid::from_u128(last)));
    let ids: Vec<Uuid> = near.select_only().column(runs::Column::Id).into_tuple().all(db).await?;
    Ok(ids.into_iter().map(RunId::new).collect())
}

/// How many blocks of the outermost group have ended of each of these runs.
pub async fn ended_blocks(
    db: &impl ConnectionTrait,
    of: &[RunId],
) -> Result<HashMap<RunId, u64>, DbErr> {
    let counted: Vec<(Uuid, i64)> = stages::Entity::find()
        .filter(stages::Column::Run.is_in(of.iter().map(|run| run.uuid())))
        .filter(stages::Column::Parent.eq(0))
        .filter(stages::Column::EndedUs.is_not_null())
        .filter(stages::Column::CutOff.eq(false))
        .select_only()
        .column(stages::Column::Run)
        .column_as(stages::Column::No.count(), "ended")
        .group_by(stages::Column::Run)
        .into_tuple()
        .all(db)
        .await?;
    Ok(counted.into_iter().map(|(run, n)| (RunId::new(run), n.unsigned_abs())).collect())
}

/// The tasks of a run that were handed out, each with the value that it gave; at most so many.
pub async fn tasks_of(
    db: &impl ConnectionTrait,
    run: RunId,
    limit: u64,
) -> Result<Vec<(TaskView, Option<String>)>, DbErr> {
    let rows = tasks::Entity::find()
        .filter(tasks::Column::Run.eq(run.uuid()))
        .order_by_asc(tasks::Column::Stage)
        .order_by_asc(tasks::Column::Idx)
        .limit(limit)
        .all(db)
        .await?;
    rows.into_iter().map(task).collect()
}

/// The attempts of a run that others followed, at most so many.
pub async fn attempts_of(
    db: &impl ConnectionTrait,
    run: RunId,
    limit: u64,
) -> Result<Vec<TaskView>, DbErr> {
    let rows = attempts::Entity::find()
        .filter(attempts::Column::Run.eq(run.uuid()))
        .order_by_asc(attempts::Column::Stage)
        .order_by_asc(attempts::Column::Idx)
        .order_by_asc(attempts::Column::Attempt)
        .limit(limit)
        .all(db)
        .await?;
    rows.into_iter().map(attempts::view).collect()
}

/// What all blocks of a run can read, by its name; the newest counts.
pub async fn values_of(
    db: &impl ConnectionTrait,
    run: RunId,
) -> Result<BTreeMap<String, String>, DbErr> {
    let mut records = values::of_run(db, run).await?;
    records.sort_by_key(|record| record.seq);
    let of_all = records.into_iter().filter(|record| record.within.is_none());
    Ok(of_all.map(|record| (record.name.to_string(), record.value.to_string())).collect())
}

fn task(row: tasks::Model) -> Result<(TaskView, Option<String>), DbErr> {
    let index = u32::try_from(row.idx).map_err(|_| corrupt("task index"))?;
    let task = TaskRef { run: RunId::new(row.run), stage: stage_no(row.stage)?, index };
    let receipt = row.receipt.as_deref();
    let value = receipt.and_then(|bytes| postcard::from_bytes::<Receipt>(bytes).ok());
    let value = value.and_then(|receipt| match receipt.outcome {
        Outcome::Succeeded { value, .. } => value,
        Outcome::Failed { .. } | Outcome::NodeFault { .. } => None,
    });
    let view = TaskView {
        lease: Lease { task, attempt: u32::try_from(row.attempt).unwrap_or(0) },
        state: TaskState::from_number(row.state).ok_or_else(|| corrupt("task state"))?,
        node: row.node.map(common::ids::NodeId::new),
        leased_at: row.leased_us.map(time),
        received_at: row.received_us.map(time),
        running_at: row.running_us.map(time),
        ended_at: row.ended_us.map(time),
        price: Credits::from_units(row.price).ok_or_else(|| corrupt("price"))?,
        head: receipt.and_then(ReceiptHead::read),
        error: row.error,
    };
    Ok((view, value))
}
