//! What each node has done and earned.

use std::collections::BTreeMap;

use common::ids::NodeId;
use common::market::Tally;
use common::money::credits::Credits;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait as _, OnConflict};

use crate::store::corrupt;
use crate::store::query::insert::RowWriter;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "node_tallies")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub node: Uuid,
    pub tasks: i64,
    pub earned: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What a node has done in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    pub tasks: u64,
    pub earned: Credits,
}

/// The totals of these nodes; one that has done nothing has none.
pub async fn find(
    db: &impl ConnectionTrait,
    nodes: &[NodeId],
) -> Result<BTreeMap<NodeId, Total>, DbErr> {
    let ids = nodes.iter().map(|node| node.uuid());
    let rows = Entity::find().filter(Column::Node.is_in(ids)).all(db).await?;
    rows.into_iter()
        .map(|row| {
            let tasks = u64::try_from(row.tasks).map_err(|_| corrupt("count"))?;
            let earned = Credits::from_units(row.earned).ok_or_else(|| corrupt("earnings"))?;
            Ok((NodeId::new(row.node), Total { tasks, earned }))
        })
        .collect()
}

/// Adds what nodes have done.
pub(in crate::store) async fn add(
    db: &impl ConnectionTrait,
    tallies: &BTreeMap<NodeId, Tally>,
) -> Result<(), DbErr> {
    static SUM: RowWriter<Entity> = RowWriter::on_conflict(|| {
        let sum = |column: Column| {
            let added = Expr::col(("excluded", column));
            Expr::col((Entity, column)).add(added)
        };
        OnConflict::column(Column::Node)
            .value(Column::Tasks, sum(Column::Tasks))
            .value(Column::Earned, sum(Column::Earned))
            .to_owned()
    });
    let rows = tallies.iter().map(|(node, tally)| ActiveModel {
        node: Set(node.uuid()),
        tasks: Set(tally.tasks.into()),
        earned: Set(tally.earned.units()),
    });
    SUM.write(db, rows).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::databases;

    #[tokio::test]
    async fn tallies_add_up() {
        for fresh in databases().await {
            let db = &fresh.db;
            let node = NodeId::new(Uuid::now_v7());
            let other = NodeId::new(Uuid::now_v7());
            let tally = |tasks, units| Tally { tasks, earned: Credits::from_units(units).unwrap() };

            add(db, &BTreeMap::from([(node, tally(1, 5))])).await.unwrap();
            add(db, &BTreeMap::from([(node, tally(2, 7)), (other, tally(1, 1))])).await.unwrap();

            let found = find(db, &[node]).await.unwrap();
            let earned = Credits::from_units(12).unwrap();
            assert_eq!(found, BTreeMap::from([(node, Total { tasks: 3, earned })]));
        }
    }
}
