//! Plans of runs, each stored once under its digest.

use std::collections::{BTreeMap, BTreeSet};

use common::digest::Digest;
use common::error_chain::chain;
use common::plan::Plan;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use crate::store::query::document;
use crate::store::query::rows;
use crate::store::query::rows::UnreadableRow;
use crate::store::row_groups;
use crate::store::{Db, corrupt_by};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "plans")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub digest: String,
    /// JSON of a `Plan`.
    pub body: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A plan as it is stored, under the digest of its text.
pub(in crate::store) struct Packed {
    pub digest: String,
    body: String,
}

pub(in crate::store) fn pack(plan: &Plan) -> Result<Packed, DbErr> {
    let body = document::unproven(plan)?;
    Ok(Packed { digest: Digest::of(body.as_bytes()).to_string(), body })
}

/// Stores the plans that are not stored yet.
pub(in crate::store) async fn insert(
    db: &impl ConnectionTrait,
    plans: BTreeMap<String, Packed>,
) -> Result<(), DbErr> {
    let rows: Vec<ActiveModel> = plans
        .into_values()
        .map(|plan| ActiveModel { digest: Set(plan.digest), body: Set(plan.body) })
        .collect();
    for some in row_groups(&rows) {
        Entity::insert_many(some.iter().cloned())
            .on_conflict_do_nothing_on([Column::Digest])
            .exec_without_returning(db)
            .await?;
    }
    Ok(())
}

pub(in crate::store) async fn find(
    db: &impl ConnectionTrait,
    digest: &str,
) -> Result<Option<Plan>, DbErr> {
    let row = Entity::find_by_id(digest).one(db).await?;
    row.map(|row| read(&row)).transpose()
}

/// The plans of these digests, each read once. One that cannot be read is left out.
pub(in crate::store) async fn find_many(
    db: &impl ConnectionTrait,
    digests: BTreeSet<String>,
) -> Result<BTreeMap<String, Plan>, DbErr> {
    let digests: Vec<String> = digests.into_iter().collect();
    let mut plans = BTreeMap::new();
    for some in row_groups(&digests) {
        let rows = Entity::find().filter(Column::Digest.is_in(some)).all(db).await?;
        let readable = rows.into_iter().filter_map(|row| {
            let plan = read(&row).inspect_err(|error| {
                tracing::error!(plan = row.digest, error = %chain(&error), "a plan cannot be read");
            });
            Some((row.digest.clone(), plan.ok()?))
        });
        plans.extend(readable);
    }
    Ok(plans)
}

/// Finds the plans that cannot be read.
pub(in crate::store) async fn check(db: &Db, found: &mut Vec<UnreadableRow>) -> Result<(), DbErr> {
    rows::check::<Entity, _>(db, found, |row| read(&row).map(drop)).await
}

fn read(row: &Model) -> Result<Plan, DbErr> {
    document::read(&row.body).map_err(|error| corrupt_by("plan", &error))
}
