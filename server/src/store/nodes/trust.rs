//! What nodes and operators have shown: how many leases a node may have at once, and how much of an
//! operator's work was accepted.

use std::collections::BTreeMap;

use common::ids::{NodeId, WorkspaceId};
use common::market::OperatorRecord;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;

use crate::store::query::insert::RowWriter;
use crate::store::{corrupt, micros, time};

mod windows {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "node_windows")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub node: Uuid,
        pub leases: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

mod operators {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "operators")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub operator: Uuid,
        pub accepted: i32,
        pub agreed: i32,
        pub barred_us: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The windows of all nodes that have grown theirs.
pub(in crate::store) async fn windows(
    db: &impl ConnectionTrait,
) -> Result<BTreeMap<NodeId, u32>, DbErr> {
    let rows = windows::Entity::find().all(db).await?;
    rows.into_iter().map(|row| Ok((NodeId::new(row.node), count(row.leases)?))).collect()
}

/// The records of all operators that have any.
pub(in crate::store) async fn records(
    db: &impl ConnectionTrait,
) -> Result<BTreeMap<WorkspaceId, OperatorRecord>, DbErr> {
    let rows = operators::Entity::find().all(db).await?;
    rows.into_iter()
        .map(|row| {
            let record = OperatorRecord {
                accepted: count(row.accepted)?,
                agreed: count(row.agreed)?,
                barred_until: row.barred_us.map(time),
            };
            Ok((WorkspaceId::new(row.operator), record))
        })
        .collect()
}

pub(in crate::store) async fn put_windows(
    db: &impl ConnectionTrait,
    changed: &BTreeMap<NodeId, u32>,
) -> Result<(), DbErr> {
    static NEWEST: RowWriter<windows::Entity> = RowWriter::on_conflict(|| {
        let update = windows::Column::Leases;
        OnConflict::column(windows::Column::Node).update_column(update).to_owned()
    });
    let rows = changed.iter().map(|(node, leases)| windows::ActiveModel {
        node: Set(node.uuid()),
        leases: Set(i32::try_from(*leases).unwrap_or(i32::MAX)),
    });
    NEWEST.write(db, rows).await
}

pub(in crate::store) async fn put_records(
    db: &impl ConnectionTrait,
    changed: &BTreeMap<WorkspaceId, OperatorRecord>,
) -> Result<(), DbErr> {
    use operators::Column;

    static NEWEST: RowWriter<operators::Entity> = RowWriter::on_conflict(|| {
        OnConflict::column(Column::Operator)
            .update_columns([Column::Accepted, Column::Agreed, Column::BarredUs])
            .to_owned()
    });
    let rows = changed.iter().map(|(operator, record)| operators::ActiveModel {
        operator: Set(operator.uuid()),
        accepted: Set(i32::try_from(record.accepted).unwrap_or(i32::MAX)),
        agreed: Set(i32::try_from(record.agreed).unwrap_or(i32::MAX)),
        barred_us: Set(record.barred_until.map(micros)),
    });
    NEWEST.write(db, rows).await
}

fn count(n: i32) -> Result<u32, DbErr> {
    u32::try_from(n).map_err(|_| corrupt("count"))
}
