//! The file that a customer uploads for a job.

use chrono::{DateTime, Utc};
use common::data::location::Identity;
use common::digest::Digest;
use common::ids::{JobId, RunId, WorkspaceId};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::row::{self, Column as C};
use crate::store::market::runs;
use crate::store::schedules;

/// An uploaded file as it was when it was called complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    pub size: u64,
    /// What tells it from another one; `None` where the bucket says nothing.
    pub identity: Option<Identity>,
}

impl Upload {
    pub(super) fn version(&self) -> Option<String> {
        self.identity.as_ref().map(Identity::text)
    }

    pub(super) fn read(size: u64, version: Option<&str>) -> Self {
        Self { size, identity: version.map(Identity::read) }
    }
}

/// Notes the digest of the file that has just been taken in for a job.
pub async fn note_received(
    db: &impl ConnectionTrait,
    id: JobId,
    digest: Digest,
) -> Result<(), DbErr> {
    row::Entity::update_many()
        .col_expr(C::Received, Expr::value(digest.to_string()))
        .filter(C::Id.eq(id.uuid()))
        .exec(db)
        .await?;
    Ok(())
}

/// Whose job this is, if a file may still be uploaded for it.
pub async fn takes_upload(
    db: &impl ConnectionTrait,
    id: JobId,
) -> Result<Option<WorkspaceId>, DbErr> {
    let owner: Option<Uuid> = row::Entity::find_by_id(id.uuid())
        .filter(C::Run.is_null())
        .filter(C::DeletedUs.is_null())
        .select_only()
        .column(C::Workspace)
        .into_tuple()
        .one(db)
        .await?;
    Ok(owner.map(WorkspaceId::new))
}

/// Whether a job's file is still of use at this time: to runs that its schedule makes, to a run
/// whose data is kept, or to a draft whose file was uploaded or replaced after `then`.
pub async fn needs_upload(
    db: &impl ConnectionTrait,
    id: JobId,
    uploaded_at: DateTime<Utc>,
    then: DateTime<Utc>,
) -> Result<bool, DbErr> {
    if schedules::has(db, id).await? {
        return Ok(true);
    }
    let Some(row) = row::Entity::find_by_id(id.uuid()).one(db).await? else { return Ok(false) };
    match row.run {
        // It goes with the run's own data.
        Some(run) => Ok(!runs::purge::is_purged(db, RunId::new(run)).await?),
        None => Ok(row.deleted_us.is_none() && uploaded_at >= then),
    }
}
