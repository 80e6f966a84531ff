//! Container images that travel with their apps: stored by digest, found by reference.

use common::digest::Digest;
use common::ids::WorkspaceId;

use super::image_check;
use crate::app::App;
use crate::data::bucket::blob_key::BlobKey;
use crate::data::{ByteStream, Stored};
use crate::error::{Error, Result};
use crate::files::already_uploading;
use crate::people::caller::Caller;
use crate::store::catalogue::images;

pub use crate::store::catalogue::images::StoredImage;

/// 64 GiB.
const IMAGE_BYTES_MAX: u64 = 64 << 30;

/// Stores an image's archive, whose size and digest are announced, under its reference.
///
/// # Errors
/// Where the bytes are others, no engine could load them, or the quota is used up.
pub async fn push(
    app: &App,
    caller: &Caller,
    image: StoredImage,
    bytes: ByteStream,
) -> Result<StoredImage> {
    let StoredImage { digest, size, .. } = image;
    if size > IMAGE_BYTES_MAX {
        return Err(Error::TooLarge(IMAGE_BYTES_MAX));
    }
    let (owner, key) = (caller.workspace, BlobKey::Image(digest));
    let _alone = app.data.quotas().alone(owner, &key).ok_or_else(already_uploading)?;
    app.data.quotas().reserve(owner, &key, size).await?;
    let checked = image_check::checked(bytes);
    if let Err(error) = app.data.put_verified(&key, Stored { size, digest }, checked).await {
        release(app, owner, digest).await?;
        return Err(error.into());
    }
    let before = images::find(&app.db, owner, &image.reference).await?;
    images::put(&app.db, owner, &image).await?;
    if let Some(before) = before {
        release(app, owner, before.digest).await?;
    }
    tracing::info!(%digest, size, "image pushed");
    Ok(image)
}

/// Counts an image no more that no reference of the workspace leads to.
async fn release(app: &App, owner: WorkspaceId, digest: Digest) -> Result<()> {
    if !images::has(&app.db, owner, digest).await? {
        app.data.quotas().settle(owner, &BlobKey::Image(digest), None).await?;
    }
    Ok(())
}

/// A part of the caller's images by their references, and how many there are in all.
pub async fn list(
    app: &App,
    caller: &Caller,
    offset: u64,
    limit: u64,
) -> Result<(Vec<StoredImage>, u64)> {
    Ok(images::list(&app.db, caller.workspace, offset, limit).await?)
}

/// The caller's image of this reference.
pub async fn find(app: &App, caller: &Caller, reference: &str) -> Result<StoredImage> {
    let found = images::find(&app.db, caller.workspace, reference).await?;
    found.ok_or_else(|| Error::not_found("image", reference))
}

/// Deletes a reference. Runs that have begun keep the image; its bytes go a day later, if no other
/// workspace has the same.
pub async fn delete(app: &App, caller: &Caller, reference: &str) -> Result<()> {
    let gone = images::delete(&app.db, caller.workspace, reference).await?;
    let gone = gone.ok_or_else(|| Error::not_found("image", reference))?;
    release(app, caller.workspace, gone.digest).await?;
    tracing::info!(digest = %gone.digest, "image removed");
    Ok(())
}
