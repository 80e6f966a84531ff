//! Plans of runs, each stored once under its digest.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::digest::Digest;
use common::error_chain::chain;
use common::plan::Plan;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;

use crate::store::query::document;
use crate::store::query::insert::RowWriter;
use crate::store::query::rows;
use crate::store::query::rows::UnreadableRow;
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

/// The most plans of which it is remembered that they are stored.
const STORED_MAX: usize = 4_096;
/// Plans that one statement finds.
const FOUND_AT_ONCE: usize = 256;

/// Plans that are known to be stored: none is ever deleted or changed.
#[derive(Debug, Default)]
pub(in crate::store) struct StoredPlans(Mutex<HashSet<String>>);

impl StoredPlans {
    fn has(&self, digest: &str) -> bool {
        self.digests().contains(digest)
    }

    /// Remembers plans whose transaction is on disk.
    pub fn add(&self, stored: Vec<String>) {
        let mut digests = self.digests();
        if digests.len() + stored.len() > STORED_MAX {
            digests.clear();
        }
        digests.extend(stored);
    }

    fn digests(&self) -> MutexGuard<'_, HashSet<String>> {
        // Each change is one insert or the removal of all.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A plan as it is stored, under the digest of its text.
pub(in crate::store) struct Packed {
    pub digest: String,
    body: String,
}

/// Makes sure that a plan can be read back, before a run of it is accepted. One that is stored was
/// proven before.
pub fn prove(db: &Db, plan: &Plan) -> Result<(), DbErr> {
    let Packed { digest, body } = pack(plan)?;
    if db.known.plans.has(&digest) { Ok(()) } else { document::prove::<Plan>(&body) }
}

pub(in crate::store) fn pack(plan: &Plan) -> Result<Packed, DbErr> {
    let body = document::unproven(plan)?;
    Ok(Packed { digest: Digest::of(body.as_bytes()).to_string(), body })
}

/// Stores the plans that are not stored yet, and gives the digests of those that may be new.
pub(in crate::store) async fn insert(
    db: &impl ConnectionTrait,
    stored: &StoredPlans,
    mut plans: BTreeMap<String, Packed>,
) -> Result<Vec<String>, DbErr> {
    static NEW: RowWriter<Entity> =
        RowWriter::on_conflict(|| OnConflict::column(Column::Digest).do_nothing().to_owned());
    plans.retain(|digest, _| !stored.has(digest));
    let new: Vec<String> = plans.keys().cloned().collect();
    let rows = plans.into_values();
    let rows = rows.map(|plan| ActiveModel { digest: Set(plan.digest), body: Set(plan.body) });
    NEW.write(db, rows).await?;
    Ok(new)
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
    for some in digests.chunks(FOUND_AT_ONCE) {
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

#[cfg(test)]
mod tests {
    use common::testing;

    use super::*;
    use crate::store::begin;
    use crate::store::testing::databases;

    #[tokio::test]
    async fn plan_counts_as_stored_when_its_transaction_is_and_not_before() {
        for fresh in databases().await {
            let (db, stored) = (&fresh.db, StoredPlans::default());
            let plan = testing::pipeline().plan();
            let packed = || {
                let plan = pack(&plan).unwrap();
                BTreeMap::from([(plan.digest.clone(), plan)])
            };
            let digest = pack(&plan).unwrap().digest;

            let lost = begin(db).await.unwrap();
            insert(&lost, &stored, packed()).await.unwrap();
            drop(lost);
            let tx = begin(db).await.unwrap();
            let new = insert(&tx, &stored, packed()).await.unwrap();
            tx.commit().await.unwrap();
            stored.add(new);

            assert_eq!(find(db, &digest).await.unwrap().as_ref(), Some(&plan), "{}", fresh.name);
            let again = insert(db, &stored, packed()).await.unwrap();
            assert!(again.is_empty(), "{}", fresh.name);
        }
    }
}
