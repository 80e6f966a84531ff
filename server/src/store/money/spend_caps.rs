//! Spend caps of projects.

use std::collections::BTreeMap;

use common::ids::WorkspaceId;
use common::money::credits::Credits;
use common::money::spend_cap::{CapPeriod, SpendCap};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;

use crate::store::{Db, corrupt, micros, time};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "spend_caps")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub workspace: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub project: String,
    pub units: i64,
    /// The name of a `CapPeriod`.
    pub period: String,
    pub since_us: i64,
    pub spent: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Stores caps as they stand now, and removes those that were taken away.
pub(in crate::store) async fn put(
    db: &impl ConnectionTrait,
    caps: &BTreeMap<(WorkspaceId, String), Option<SpendCap>>,
) -> Result<(), DbErr> {
    for ((workspace, project), cap) in caps {
        let Some(cap) = cap else {
            Entity::delete_by_id((workspace.uuid(), project.clone())).exec(db).await?;
            continue;
        };
        let newest = OnConflict::columns([Column::Workspace, Column::Project])
            .update_columns([Column::Units, Column::Period, Column::SinceUs, Column::Spent])
            .to_owned();
        let row = ActiveModel {
            workspace: Set(workspace.uuid()),
            project: Set(project.clone()),
            units: Set(cap.limit.units()),
            period: Set(cap.period.as_str().to_owned()),
            since_us: Set(micros(cap.since)),
            spent: Set(cap.spent.units()),
        };
        Entity::insert(row).on_conflict(newest).exec_without_returning(db).await?;
    }
    Ok(())
}

/// The caps of all workspaces.
pub(in crate::store) async fn load(db: &Db) -> Result<Vec<(WorkspaceId, String, SpendCap)>, DbErr> {
    Entity::find().all(db).await?.into_iter().map(read).collect()
}

fn read(row: Model) -> Result<(WorkspaceId, String, SpendCap), DbErr> {
    let credits = |units| Credits::from_units(units).ok_or_else(|| corrupt("spend cap"));
    let cap = SpendCap {
        limit: credits(row.units)?,
        period: CapPeriod::from_name(&row.period).ok_or_else(|| corrupt("period"))?,
        since: time(row.since_us),
        spent: credits(row.spent)?,
    };
    Ok((WorkspaceId::new(row.workspace), row.project, cap))
}

#[cfg(test)]
mod tests {
    use common::market::{Market, Policy};

    use super::*;
    use crate::clock;
    use crate::store::testing::{commit_next, databases};

    #[tokio::test]
    async fn caps_are_there_after_a_restart_until_they_are_taken_away() {
        for fresh in databases().await {
            let (db, owner) = (&fresh.db, WorkspaceId::new(Uuid::now_v7()));
            let stored = crate::store::load(db).await.unwrap();
            let mut market = Market::load(Policy::default(), stored, clock::now());
            let mut set = |project: &str, credits: Option<&str>, period| {
                let limit = credits.map(|credits| (credits.parse().unwrap(), period));
                market.set_cap(owner, project.to_owned(), limit, clock::now());
                market.drain()
            };
            for (project, credits, period) in [
                ("p", Some("10"), CapPeriod::Month),
                ("q", Some("1"), CapPeriod::Total),
                ("q", None, CapPeriod::Total),
                ("p", Some("5"), CapPeriod::Month),
            ] {
                let changes = set(project, credits, period);
                commit_next(db, &changes, &[]).await.unwrap();
            }

            let stored = crate::store::load(db).await.unwrap();
            let again = Market::load(Policy::default(), stored, clock::now());

            let caps = again.caps(owner);
            assert_eq!(caps, market.caps(owner), "{}", fresh.name);
            let limit = caps[0].cap.limit.to_string();
            assert_eq!((caps.len(), limit.as_str()), (1, "5.00000000"), "{}", fresh.name);
        }
    }
}
