//! The file that a customer uploads for a job.

use common::ids::{JobId, WorkspaceId};
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter};

use super::row::{self, Column as C};

/// An uploaded file as it was when it was called complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    pub size: u64,
    /// What the bucket calls these very bytes.
    pub version: Option<String>,
}

/// Whose job it is, where a file may still be uploaded for it.
pub async fn upload_owner(
    db: &impl ConnectionTrait,
    id: JobId,
) -> Result<Option<WorkspaceId>, DbErr> {
    let job = row::Entity::find_by_id(id.uuid())
        .filter(C::RunId.is_null())
        .filter(C::DeletedUs.is_null())
        .one(db)
        .await?;
    Ok(job.map(|job| WorkspaceId::new(job.workspace_id)))
}

/// Whether a file may still be uploaded for this job.
pub async fn takes_upload(db: &impl ConnectionTrait, id: JobId) -> Result<bool, DbErr> {
    let open = row::Entity::find_by_id(id.uuid())
        .filter(C::RunId.is_null())
        .filter(C::DeletedUs.is_null())
        .count(db)
        .await?;
    Ok(open > 0)
}
