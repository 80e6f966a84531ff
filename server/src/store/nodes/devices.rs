//! What nodes say of their machines.

use std::collections::{BTreeMap, BTreeSet};

use common::compute::device::Device;
use common::ids::NodeId;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;

use crate::store::query::document;
use crate::store::query::insert::RowWriter;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "devices")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub node: Uuid,
    /// JSON of the `Device`.
    pub device: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The machines of these nodes, as far as they are known.
pub async fn find(
    db: &impl ConnectionTrait,
    nodes: &BTreeSet<NodeId>,
) -> Result<BTreeMap<NodeId, Device>, DbErr> {
    let ids = nodes.iter().map(|node| node.uuid());
    let rows = Entity::find().filter(Column::Node.is_in(ids)).all(db).await?;
    rows.into_iter().map(|row| Ok((NodeId::new(row.node), document::read(&row.device)?))).collect()
}

/// Stores machines as they are now.
pub(in crate::store) async fn put(
    db: &impl ConnectionTrait,
    devices: &BTreeMap<NodeId, Device>,
) -> Result<(), DbErr> {
    static NEWEST: RowWriter<Entity> = RowWriter::on_conflict(|| {
        OnConflict::column(Column::Node).update_column(Column::Device).to_owned()
    });
    let rows: Vec<ActiveModel> = devices
        .iter()
        .map(|(node, device)| {
            let device = document::write(device)?;
            Ok(ActiveModel { node: Set(node.uuid()), device: Set(device) })
        })
        .collect::<Result<_, DbErr>>()?;
    NEWEST.write(db, rows).await
}
