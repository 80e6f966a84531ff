//! The objects of the bucket that rows name, for a comparison of both.

use common::data::location::Identity;
use common::digest::Digest;
use common::ids::{JobId, RunId};
use futures::TryStreamExt as _;
use sea_orm::sea_query::ExprTrait as _;
use sea_orm::{ColumnTrait as _, DbErr, EntityTrait as _, QueryFilter as _};

use crate::store::catalogue::{images, packages};
use crate::store::logs::segments;
use crate::store::logs::segments::Segment;
use crate::store::market::{results, runs};
use crate::store::{Db, jobs};

/// An object that must be there, with its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    Package(Digest, u64),
    Image(Digest, u64),
    /// The file of a job that the customer has called complete; of one that the store took in
    /// itself no digest is known.
    Upload(JobId, u64, Option<Digest>),
    /// A segment of a run's log.
    Log {
        run: RunId,
        seq: u32,
        digest: Digest,
        size: u64,
    },
    /// A result, by its path in the bucket.
    Result(String, u64, Option<Digest>),
}

/// Gives everything that rows name to `look`, one after the other. A row whose digest cannot be
/// read is left out: `store::check` reports it.
pub async fn each<E: From<DbErr>>(
    db: &Db,
    mut look: impl AsyncFnMut(Named) -> Result<(), E>,
) -> Result<(), E> {
    let mut rows = packages::row::Entity::find().stream(db).await?;
    while let Some(row) = rows.try_next().await? {
        if let Ok(digest) = row.digest.parse() {
            look(Named::Package(digest, row.size.unsigned_abs())).await?;
        }
    }
    drop(rows);
    let mut rows = images::row::Entity::find().stream(db).await?;
    while let Some(row) = rows.try_next().await? {
        if let Ok(digest) = row.digest.parse() {
            look(Named::Image(digest, row.size.unsigned_abs())).await?;
        }
    }
    drop(rows);
    each_segment(db, &mut look).await?;
    each_upload(db, &mut look).await?;
    each_result(db, &mut look).await
}

async fn each_segment<E: From<DbErr>>(
    db: &Db,
    look: &mut impl AsyncFnMut(Named) -> Result<(), E>,
) -> Result<(), E> {
    let mut rows = segments::Entity::find().stream(db).await?;
    while let Some(row) = rows.try_next().await? {
        if let Ok(Segment { run, seq, digest, size, .. }) = segments::read(&row) {
            look(Named::Log { run, seq, digest, size }).await?;
        }
    }
    Ok(())
}

async fn each_upload<E: From<DbErr>>(
    db: &Db,
    look: &mut impl AsyncFnMut(Named) -> Result<(), E>,
) -> Result<(), E> {
    use jobs::record::row::{Column, Entity};

    let kept = Column::Run.is_null().and(Column::DeletedUs.is_null());
    let kept = kept.or(Column::Run.in_subquery(runs::purge::with_data()));
    let complete = Entity::find().filter(Column::UploadBytes.is_not_null());
    let mut rows = complete.filter(kept).stream(db).await?;
    while let Some(row) = rows.try_next().await? {
        let digest = match row.upload_version.as_deref().map(Identity::read) {
            Some(Identity::Digest(digest)) => Some(digest),
            Some(Identity::Etag(_)) | None => None,
        };
        let size = row.upload_bytes.unwrap_or_default().unsigned_abs();
        look(Named::Upload(JobId::new(row.id), size, digest)).await?;
    }
    Ok(())
}

async fn each_result<E: From<DbErr>>(
    db: &Db,
    look: &mut impl AsyncFnMut(Named) -> Result<(), E>,
) -> Result<(), E> {
    use results::{Column, Entity};

    let kept = Entity::find().filter(Column::Run.in_subquery(runs::purge::with_data()));
    let mut rows = kept.filter(Column::Blob.is_not_null()).stream(db).await?;
    while let Some(row) = rows.try_next().await? {
        let digest = row.digest.and_then(|digest| digest.parse().ok());
        let path = row.blob.unwrap_or_default();
        look(Named::Result(path, row.size.unsigned_abs(), digest)).await?;
    }
    Ok(())
}
