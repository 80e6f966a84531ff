//! Tasks that have been handed out at least once. A waiting chunk has no row.

pub mod attempts;
pub mod call_answers;
pub mod samples;
pub mod small_results;
pub mod usages;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::digest::Digest;
use common::ids::{NodeId, RunId};
use common::market::{RUN_ENDED, TaskRecord, TaskState};
use common::money::credits::Credits;
use common::protocol::{Contents, Outcome, Receipt, ReceiptHead, SignedReceipt};
use common::run::task::{Lease, StageNo, TaskRef};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{FromQueryResult, QueryOrder, QuerySelect};

use super::runs;
use crate::store::query::document;
use crate::store::query::insert::RowWriter;
use crate::store::query::rows;
use crate::store::query::rows::UnreadableRow;
use crate::store::{Db, corrupt, corrupt_by, micros, stage_no, stage_number, storable, time};

/// Receipts that are read at once have no more bytes together, unless one alone has.
const PAGE_BYTES_MAX: i64 = 8 << 20;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tasks")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub run: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub stage: i32,
    #[sea_orm(primary_key, auto_increment = false)]
    pub idx: i64,
    pub state: i16,
    pub attempt: i32,
    pub failures: i32,
    pub losses: i32,
    pub node: Option<Uuid>,
    pub leased_us: Option<i64>,
    pub received_us: Option<i64>,
    pub running_us: Option<i64>,
    pub ended_us: Option<i64>,
    /// It is not tried again before.
    pub not_before_us: Option<i64>,
    pub price: i64,
    pub receipt: Option<Vec<u8>>,
    pub signature: Option<Vec<u8>>,
    pub error: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A task or a former attempt of it, without its results.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskView {
    pub lease: Lease,
    pub state: TaskState,
    pub node: Option<NodeId>,
    pub leased_at: Option<DateTime<Utc>>,
    /// This and the next are known once the attempt has ended; until then the coordinator knows.
    pub received_at: Option<DateTime<Utc>>,
    pub running_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub price: Credits,
    /// What its receipt says, where there is one.
    pub head: Option<ReceiptHead>,
    pub error: Option<String>,
}

/// An accepted result file of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputView {
    pub lease: Lease,
    pub name: String,
    pub size: u64,
    pub digest: Digest,
}

/// A stage's tasks that were handed out, by index: at most `limit` after task `after`.
pub async fn find(
    db: &impl ConnectionTrait,
    run: RunId,
    stage: StageNo,
    after: Option<u32>,
    limit: u64,
) -> Result<Vec<TaskView>, DbErr> {
    let rows = heads(page(run, stage, after)).limit(limit).into_model::<Head>().all(db).await?;
    rows.into_iter().map(|row| row.view(run, stage)).collect()
}

/// One task of a stage, if it was ever handed out.
pub async fn find_one(
    db: &impl ConnectionTrait,
    TaskRef { run, stage, index }: TaskRef,
) -> Result<Option<TaskView>, DbErr> {
    let one = page(run, stage, None).filter(Column::Idx.eq(index));
    let row = heads(one).into_model::<Head>().one(db).await?;
    row.map(|row| row.view(run, stage)).transpose()
}

/// The attempts of calls of a run that are under way, with when each began.
pub async fn calls_under_way(
    db: &impl ConnectionTrait,
    run: RunId,
) -> Result<Vec<(Lease, DateTime<Utc>)>, DbErr> {
    let rows: Vec<(i32, i64, i32, Option<i64>)> = Entity::find()
        .select_only()
        .columns([Column::Stage, Column::Idx, Column::Attempt, Column::LeasedUs])
        .filter(Column::Run.eq(run.uuid()))
        .filter(Column::State.eq(TaskState::Leased.number()))
        // Only calls are leased to no node.
        .filter(Column::Node.is_null())
        .into_tuple()
        .all(db)
        .await?;
    let each = |(stage, index, attempt, leased): (i32, i64, i32, Option<i64>)| {
        let index = u32::try_from(index).map_err(|_| corrupt("task index"))?;
        let task = TaskRef { run, stage: stage_no(stage)?, index };
        let attempt = u32::try_from(attempt).unwrap_or(0);
        Ok((Lease { task, attempt }, leased.map(time).unwrap_or_default()))
    };
    rows.into_iter().map(each).collect()
}

/// The tasks of runs that have only one, as far as they were handed out.
pub async fn single_of(
    db: &impl ConnectionTrait,
    runs: &[RunId],
) -> Result<BTreeMap<RunId, TaskView>, DbErr> {
    let of_runs = Entity::find().filter(Column::Run.is_in(runs.iter().map(|run| run.uuid())));
    let rows = heads(of_runs)
        .columns([Column::Run, Column::Stage])
        .into_model::<NamedHead>()
        .all(db)
        .await?;
    let view = |row: NamedHead| {
        let run = RunId::new(row.run);
        Ok((run, row.head.view(run, stage_no(row.stage)?)?))
    };
    rows.into_iter().map(view).collect()
}

#[derive(Debug, FromQueryResult)]
struct NamedHead {
    run: Uuid,
    stage: i32,
    #[sea_orm(nested)]
    head: Head,
}

/// A row without the list of its results, which can be long.
#[derive(Debug, FromQueryResult)]
struct Head {
    idx: i64,
    state: i16,
    attempt: i32,
    node: Option<Uuid>,
    leased_us: Option<i64>,
    received_us: Option<i64>,
    running_us: Option<i64>,
    ended_us: Option<i64>,
    price: i64,
    head: Option<Vec<u8>>,
    error: Option<String>,
}

fn heads(select: Select<Entity>) -> Select<Entity> {
    let columns = [
        Column::Idx,
        Column::State,
        Column::Attempt,
        Column::Node,
        Column::LeasedUs,
        Column::ReceivedUs,
        Column::RunningUs,
        Column::EndedUs,
        Column::Price,
        Column::Error,
    ];
    let head = Expr::cust(format!("substr(receipt, 1, {})", ReceiptHead::BYTES_MAX));
    select.select_only().columns(columns).expr_as(head, "head")
}

impl Head {
    fn view(self, run: RunId, stage: StageNo) -> Result<TaskView, DbErr> {
        let index = u32::try_from(self.idx).map_err(|_| corrupt("task index"))?;
        let attempt = u32::try_from(self.attempt).unwrap_or(0);
        Ok(TaskView {
            lease: Lease { task: TaskRef { run, stage, index }, attempt },
            state: TaskState::from_number(self.state).ok_or_else(|| corrupt("task state"))?,
            node: self.node.map(NodeId::new),
            leased_at: self.leased_us.map(time),
            received_at: self.received_us.map(time),
            running_at: self.running_us.map(time),
            ended_at: self.ended_us.map(time),
            price: Credits::from_units(self.price).ok_or_else(|| corrupt("price"))?,
            head: self.head.as_deref().and_then(ReceiptHead::read),
            error: self.error,
        })
    }
}

/// The accepted result files of one task; it may have none.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskOutputs {
    pub index: u32,
    pub files: Vec<OutputView>,
}

/// The accepted outputs of a stage in task order: those of up to `limit` done tasks after task
/// `after`, each task with all of its own; of fewer tasks where they have very many.
pub async fn outputs(
    db: &impl ConnectionTrait,
    run: RunId,
    stage: StageNo,
    after: Option<u32>,
    limit: u64,
) -> Result<Vec<TaskOutputs>, DbErr> {
    let done = page(run, stage, after).filter(Column::State.eq(TaskState::Done.number()));
    let sizes: Vec<(i64, Option<i64>)> = done
        .clone()
        .limit(limit)
        .select_only()
        .column(Column::Idx)
        .expr_as(Expr::cust("CAST(length(receipt) AS BIGINT)"), "bytes")
        .into_tuple()
        .all(db)
        .await?;
    let Some(last) = last_of_page(&sizes) else { return Ok(Vec::new()) };
    let rows = done.filter(Column::Idx.lte(last)).all(db).await?;
    rows.into_iter()
        .map(|row| {
            let bytes = row.receipt.ok_or_else(|| corrupt("receipt"))?;
            let receipt: Receipt = postcard::from_bytes(&bytes).map_err(|_| corrupt("receipt"))?;
            let Outcome::Succeeded { outputs, .. } = receipt.outcome else {
                return Err(corrupt("receipt"));
            };
            let files = outputs
                .into_iter()
                .map(|output| OutputView {
                    lease: receipt.lease,
                    name: output.name,
                    size: output.size,
                    digest: output.digest,
                })
                .collect();
            Ok(TaskOutputs { index: receipt.lease.task.index, files })
        })
        .collect()
}

/// The last task whose receipt is read with those before it.
fn last_of_page(sizes: &[(i64, Option<i64>)]) -> Option<i64> {
    let mut bytes = 0i64;
    let fits = |(_, size): &&(i64, Option<i64>)| {
        bytes = bytes.saturating_add(size.unwrap_or(0));
        bytes <= PAGE_BYTES_MAX
    };
    let last = sizes.iter().take_while(fits).last().or(sizes.first());
    last.map(|(index, _)| *index)
}

/// The tasks of unfinished runs that are waiting or leased, each read by itself.
pub(in crate::store) async fn unfinished(
    db: &impl ConnectionTrait,
) -> Result<Vec<Result<TaskRecord, UnreadableRow>>, DbErr> {
    rows::each(db, open(), record).await
}

/// An unknown state is not left out: its run cannot go on. The index is only found where the states
/// stand in the text.
pub(in crate::store) fn open() -> Select<Entity> {
    let [done, failed] = [TaskState::Done, TaskState::Failed].map(TaskState::number);
    Entity::find()
        .filter(Column::Run.in_subquery(runs::unfinished_ids()))
        .filter(Expr::cust(format!("state NOT IN ({done}, {failed})")))
}

/// The tasks of a run that has ended without a result of them.
pub(in crate::store) async fn without_results(
    db: &impl ConnectionTrait,
    run: RunId,
) -> Result<Vec<TaskRecord>, DbErr> {
    let failed = Entity::find()
        .filter(Column::Run.eq(run.uuid()))
        .filter(Column::State.eq(TaskState::Failed.number()));
    failed.all(db).await?.into_iter().map(record).collect()
}

/// Finds the tasks that cannot be read.
pub(in crate::store) async fn check(db: &Db, found: &mut Vec<UnreadableRow>) -> Result<(), DbErr> {
    rows::check::<Entity, _>(db, found, |row| {
        let receipt = row.receipt.as_deref().map(document::unpack::<Receipt>).transpose();
        receipt.map_err(|error| corrupt_by("receipt", &error))?;
        record(row)
    })
    .await
}

/// Ends the open tasks of a run that is set aside.
pub(in crate::store) async fn end_open(
    db: &impl ConnectionTrait,
    run: RunId,
    at: DateTime<Utc>,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::State, Expr::value(TaskState::Failed.number()))
        .col_expr(Column::EndedUs, Expr::value(micros(at)))
        .col_expr(Column::Error, Expr::value(RUN_ENDED))
        .filter(Column::Run.eq(run.uuid()))
        .filter(Column::EndedUs.is_null())
        .exec(db)
        .await?;
    Ok(())
}

/// Stores tasks as they stand now.
pub(in crate::store) async fn put(
    db: &impl ConnectionTrait,
    tasks: &[TaskRecord],
) -> Result<(), DbErr> {
    static NEWEST: RowWriter<Entity> = RowWriter::on_conflict(|| {
        OnConflict::columns([Column::Run, Column::Stage, Column::Idx])
            .update_columns([
                Column::State,
                Column::Attempt,
                Column::Failures,
                Column::Losses,
                Column::Node,
                Column::LeasedUs,
                Column::ReceivedUs,
                Column::RunningUs,
                Column::EndedUs,
                Column::NotBeforeUs,
                Column::Price,
                Column::Receipt,
                Column::Signature,
                Column::Error,
            ])
            .to_owned()
    });
    NEWEST.write(db, tasks.iter().map(row)).await
}

fn page(run: RunId, stage: StageNo, after: Option<u32>) -> Select<Entity> {
    Entity::find()
        .filter(Column::Run.eq(run.uuid()))
        .filter(Column::Stage.eq(stage_number(stage)))
        .filter(Column::Idx.gt(after.map_or(-1, i64::from)))
        .order_by_asc(Column::Idx)
}

fn row(task: &TaskRecord) -> ActiveModel {
    let (receipt, signature) = task
        .receipt
        .as_ref()
        .map(|signed| (signed.receipt.clone(), signed.signature.clone()))
        .unzip();
    let count = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    ActiveModel {
        run: Set(task.task.run.uuid()),
        stage: Set(stage_number(task.task.stage)),
        idx: Set(task.task.index.into()),
        state: Set(task.state.number()),
        attempt: Set(count(task.attempt)),
        failures: Set(count(task.failures)),
        losses: Set(count(task.losses)),
        node: Set(task.node.map(NodeId::uuid)),
        leased_us: Set(task.leased_at.map(micros)),
        received_us: Set(task.received_at.map(micros)),
        running_us: Set(task.running_at.map(micros)),
        ended_us: Set(task.ended_at.map(micros)),
        not_before_us: Set(task.not_before.map(micros)),
        price: Set(task.price.units()),
        receipt: Set(receipt),
        signature: Set(signature),
        error: Set(task.error.as_deref().map(storable)),
    }
}

fn record(row: Model) -> Result<TaskRecord, DbErr> {
    let count = |n: i32| u32::try_from(n).unwrap_or(0);
    let stage = stage_no(row.stage)?;
    Ok(TaskRecord {
        task: TaskRef {
            run: RunId::new(row.run),
            stage,
            index: u32::try_from(row.idx).map_err(|_| corrupt("task index"))?,
        },
        state: TaskState::from_number(row.state).ok_or_else(|| corrupt("task state"))?,
        attempt: count(row.attempt),
        failures: count(row.failures),
        losses: count(row.losses),
        node: row.node.map(NodeId::new),
        leased_at: row.leased_us.map(time),
        received_at: row.received_us.map(time),
        running_at: row.running_us.map(time),
        ended_at: row.ended_us.map(time),
        not_before: row.not_before_us.map(time),
        price: Credits::from_units(row.price).ok_or_else(|| corrupt("price"))?,
        receipt: row
            .receipt
            .zip(row.signature)
            // Small results are read by those who want them.
            .map(|(receipt, signature)| {
                let contents = Contents::default();
                SignedReceipt { receipt, signature, contents }
            }),
        error: row.error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_of_outputs_is_bounded_by_bytes_and_has_one_task_at_least() {
        let size = |bytes| Some(bytes);
        let of = |sizes: &[i64]| {
            let rows: Vec<_> = (10..).zip(sizes.iter().copied().map(size)).collect();
            last_of_page(&rows)
        };

        assert_eq!(of(&[]), None);
        assert_eq!(of(&[100; 1000]), Some(1009));
        assert_eq!(of(&[PAGE_BYTES_MAX - 100, 100, 1]), Some(11));
        assert_eq!(of(&[PAGE_BYTES_MAX + 1, 1]), Some(10));
    }
}
