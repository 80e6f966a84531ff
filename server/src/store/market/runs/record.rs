//! Runs as the coordinator stores them and goes on with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::compute::resources::{Resources, Usage};
use common::ids::RunId;
use common::market::{Counts, Run, RunRecord};
use common::money::credits::Credits;
use common::plan::Plan;
use common::run::RunState;
use common::run::spec::RunSpec;
use common::run::task::StageNo;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{OnConflict, SelectStatement};
use sea_orm::{Condition, QuerySelect as _, QueryTrait as _};

use super::origin::{callbacks, origin_name, parent};
use super::{ActiveModel, Column, Entity, Model, view};
use crate::store::market::plans::{self, StoredPlans};
use crate::store::market::stages;
use crate::store::market::stages::{chunk_tables, resolutions, values};
use crate::store::query::document;
use crate::store::query::insert::RowWriter;
use crate::store::query::rows::{self, UnreadableRow};
use crate::store::{Db, corrupt, corrupt_by, micros, storable};

/// A run that has ended, with everything that it can go on from as long as its data is in the
/// bucket; `None` where it is not, or where there is no such run.
pub async fn ended(db: &impl ConnectionTrait, run: RunId) -> Result<Option<Run>, DbErr> {
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
    rows::each(db, open(), |row| record(&row, &plans)).await
}

pub(in crate::store) fn open() -> Select<Entity> {
    Entity::find().filter(is_unfinished())
}

/// A run that is cancelled has ended for its customer, and waits for its nodes to stop. The indexes
/// are only found where the state stands in the text.
fn is_unfinished() -> Condition {
    let is_ending = Expr::cust(format!("state = '{}'", RunState::Ending.as_str()));
    Condition::any().add(Column::EndedUs.is_null()).add(is_ending)
}

async fn unfinished_plans(db: &impl ConnectionTrait) -> Result<BTreeMap<String, Plan>, DbErr> {
    let digests: Vec<String> =
        open().select_only().column(Column::Plan).distinct().into_tuple().all(db).await?;
    plans::find_many(db, digests.into_iter().collect()).await
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
        billed: Credits::from_units(row.billed).ok_or_else(|| corrupt("bill"))?,
        usage: Usage {
            cpu_ms: row.cpu_ms.unsigned_abs(),
            memory_mib_ms: row.memory_mib_ms.unsigned_abs(),
            ..Usage::default()
        },
        warning: view.warning,
        cause: view.cause,
    })
}

/// Stores runs as they stand now, and gives the digests of plans that may be new. What was ordered
/// is written with the first version only.
pub(in crate::store) async fn put(
    db: &impl ConnectionTrait,
    stored: &StoredPlans,
    runs: &[RunRecord],
    new: &BTreeSet<RunId>,
) -> Result<Vec<String>, DbErr> {
    static NEWEST: RowWriter<Entity> = RowWriter::on_conflict(|| {
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
                Column::Billed,
            ])
            .to_owned()
    });
    let mut packed = BTreeMap::new();
    let mut rows = Vec::with_capacity(runs.len());
    for record in runs {
        let is_new = new.contains(&record.id);
        let plan = if is_new { Some(plans::pack(&record.spec.plan)?) } else { None };
        rows.push(row(record, plan.as_ref().map(|plan| plan.digest.clone()))?);
        packed.extend(plan.map(|plan| (plan.digest.clone(), plan)));
    }
    let new_plans = plans::insert(db, stored, packed).await?;
    NEWEST.write(db, rows).await?;
    Ok(new_plans)
}

/// The row of a run. That of one which is stored already brings no documents of what was ordered:
/// they are not written again.
fn row(record: &RunRecord, plan: Option<String>) -> Result<ActiveModel, DbErr> {
    let spec = &record.spec;
    let [scope, terms, callbacks] = match plan {
        Some(_) => [
            Some(document::unproven(&spec.scope)?),
            Some(document::unproven(&spec.terms)?),
            callbacks(&spec.callbacks)?,
        ],
        None => [None, None, None],
    };
    let times = &record.times;
    let ended = times.ended(record.state);
    let started = times.of(RunState::Scheduled).or_else(|| times.began());
    let task = spec.plan.typical_task();
    let needs = task.map_or(Resources::NONE, |task| task.container.needs);
    Ok(ActiveModel {
        id: Set(record.id.uuid()),
        job: Set(spec.job.uuid()),
        workspace: Set(spec.workspace.uuid()),
        name: Set(storable(&spec.name)),
        plan: Set(plan.unwrap_or_default()),
        scope: Set(scope.unwrap_or_default()),
        terms: Set(terms.unwrap_or_default()),
        timeout_secs: Set(spec.timeout_secs.map(i64::from)),
        parent: Set(parent(spec.origin).map(RunId::uuid)),
        parent_stage: Set(spec.origin.starter().map(|parent| parent.stage.number().into())),
        callbacks: Set(callbacks),
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
        billed: Set(record.billed.units()),
        purged: Set(false),
        template: Set(storable(&spec.template)),
        cpu_ms: Set(i64::try_from(record.usage.cpu_ms).unwrap_or(i64::MAX)),
        memory_mib_ms: Set(i64::try_from(record.usage.memory_mib_ms).unwrap_or(i64::MAX)),
        empty: Set(record.counts.empty.into()),
        warning: Set(record.warning.clone()),
    })
}
