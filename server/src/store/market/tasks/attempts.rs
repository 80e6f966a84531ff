//! Attempts that ended and after which their task went on with another. A task's last attempt is
//! in its own row.

use common::ids::{NodeId, RunId};
use common::market::{TaskRecord, TaskState};
use common::money::credits::Credits;
use common::protocol::ReceiptHead;
use common::run::task::{Lease, TaskRef};
use sea_orm::ActiveValue::Set;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;

use crate::store::market::tasks;
use crate::store::market::tasks::TaskView;
use crate::store::query::insert::RowWriter;
use crate::store::{corrupt, micros, stage_no, stage_number, storable, time};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "attempts")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub run: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub stage: i32,
    #[sea_orm(primary_key, auto_increment = false)]
    pub idx: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub attempt: i32,
    pub node: Uuid,
    pub leased_us: i64,
    pub received_us: Option<i64>,
    pub running_us: Option<i64>,
    pub ended_us: i64,
    pub price: i64,
    /// Where the node has sent one; it names no results.
    pub receipt: Option<Vec<u8>>,
    pub signature: Option<Vec<u8>>,
    pub error: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A task's attempts before its last, first first.
pub async fn find(db: &impl ConnectionTrait, task: TaskRef) -> Result<Vec<TaskView>, DbErr> {
    let rows = Entity::find()
        .filter(Column::Run.eq(task.run.uuid()))
        .filter(Column::Stage.eq(stage_number(task.stage)))
        .filter(Column::Idx.eq(i64::from(task.index)))
        .order_by_asc(Column::Attempt)
        .all(db)
        .await?;
    rows.into_iter().map(view).collect()
}

/// Whether an attempt is a node's, or was.
pub async fn is_of(db: &impl ConnectionTrait, node: NodeId, lease: Lease) -> Result<bool, DbErr> {
    let Lease { task, attempt } = lease;
    let attempt = i32::try_from(attempt).unwrap_or(i32::MAX);
    let key = (task.run.uuid(), stage_number(task.stage), i64::from(task.index));
    let last = tasks::Entity::find_by_id(key).one(db).await?;
    if let Some(last) = last.filter(|last| last.attempt == attempt) {
        return Ok(last.node == Some(node.uuid()));
    }
    let earlier = Entity::find_by_id((key.0, key.1, key.2, attempt)).one(db).await?;
    Ok(earlier.is_some_and(|earlier| earlier.node == node.uuid()))
}

pub(in crate::store) async fn insert(
    db: &impl ConnectionTrait,
    ended: &[TaskRecord],
) -> Result<(), DbErr> {
    static NEW: RowWriter<Entity> = RowWriter::new();
    NEW.write(db, ended.iter().map(row).collect::<Result<Vec<_>, _>>()?).await
}

fn row(ended: &TaskRecord) -> Result<ActiveModel, DbErr> {
    let missing = || corrupt("end of an attempt");
    let (receipt, signature) =
        ended.receipt.clone().map(|signed| (signed.receipt, signed.signature)).unzip();
    Ok(ActiveModel {
        run: Set(ended.task.run.uuid()),
        stage: Set(stage_number(ended.task.stage)),
        idx: Set(ended.task.index.into()),
        attempt: Set(i32::try_from(ended.attempt).unwrap_or(i32::MAX)),
        node: Set(ended.node.ok_or_else(missing)?.uuid()),
        leased_us: Set(micros(ended.leased_at.ok_or_else(missing)?)),
        received_us: Set(ended.received_at.map(micros)),
        running_us: Set(ended.running_at.map(micros)),
        ended_us: Set(micros(ended.ended_at.ok_or_else(missing)?)),
        price: Set(ended.price.units()),
        receipt: Set(receipt),
        signature: Set(signature),
        error: Set(ended.error.as_deref().map(storable)),
    })
}

pub(in crate::store) fn view(row: Model) -> Result<TaskView, DbErr> {
    let stage = stage_no(row.stage)?;
    let index = u32::try_from(row.idx).map_err(|_| corrupt("task index"))?;
    let attempt = u32::try_from(row.attempt).unwrap_or(0);
    Ok(TaskView {
        lease: Lease { task: TaskRef { run: RunId::new(row.run), stage, index }, attempt },
        state: TaskState::Failed,
        node: Some(NodeId::new(row.node)),
        leased_at: Some(time(row.leased_us)),
        received_at: row.received_us.map(time),
        running_at: row.running_us.map(time),
        ended_at: Some(time(row.ended_us)),
        price: Credits::from_units(row.price).ok_or_else(|| corrupt("price"))?,
        head: row.receipt.as_deref().and_then(ReceiptHead::read),
        error: row.error,
    })
}
