//! Downloads: the object behind a link, as it is now.

use std::ops::Range;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use common::access::Role;
use common::digest::Digest;
use reqwest::Method;

use super::refused;
use crate::app::App;
use crate::data::bucket::links::{self, Holder, OpenedLink};
use crate::data::{ByteStream, Data, Stat};
use crate::error::{Error, Result};
use crate::metrics::{Metrics, TransferKind};
use crate::store::people::{api_keys, members};

/// An object that a link gives to read.
pub struct Download {
    data: Data,
    metrics: Arc<Metrics>,
    link: OpenedLink,
    stat: Stat,
}

impl Download {
    /// Checks a link: its last path segment and its query, as they came.
    ///
    /// # Errors
    /// `Forbidden` where the link allows no reading, or not any more; `NotFound`.
    pub async fn open(app: &App, file: &str, query: &str) -> Result<Self> {
        let link = app.data.open_link(&Method::GET, file, query).map_err(refused)?;
        check_holder(app, link.holder).await?;
        let stat = app.data.stat(&link.key).await?;
        let stat = stat.ok_or_else(|| Error::NotFound("file".to_owned()))?;
        let (data, metrics) = (app.data.clone(), app.metrics.clone());
        Ok(Self { data, metrics, link, stat })
    }

    /// A short-lived link of the bucket's own to the same object, where it makes such.
    pub async fn direct_link(&self) -> Result<Option<String>> {
        Ok(self.data.direct_link(&self.link.key, &self.link.file_name).await?)
    }

    pub const fn size(&self) -> u64 {
        self.stat.size
    }

    pub const fn modified(&self) -> DateTime<Utc> {
        self.stat.modified
    }

    /// Another one once the object is written again.
    pub fn version(&self) -> Option<&str> {
        self.stat.version.as_deref()
    }

    /// Of the whole object, where the link says it.
    pub const fn digest(&self) -> Option<Digest> {
        self.link.digest
    }

    /// The value of a `Content-Disposition` header that makes a browser save the object as a file.
    pub fn disposition(&self) -> String {
        links::disposition(&self.link.file_name)
    }

    /// The bytes of a range, checked against the digest where it is known.
    ///
    /// # Errors
    /// `Damaged` where the object is not the one that was stored.
    pub async fn read(&self, range: Range<u64>) -> Result<ByteStream> {
        let OpenedLink { key, file_name, digest, .. } = &self.link;
        let bytes = match *digest {
            Some(digest) => self.data.get_checked(key, &self.stat, digest, file_name, range).await,
            None => self.data.get(key, range).await,
        };
        Ok(Box::pin(self.metrics.transfers.counted(TransferKind::Download, bytes?)))
    }
}

/// Refuses a link whose holder is no longer a member, or whose key has been revoked. A sign-in
/// that has ended is no reason: its user may still come in.
async fn check_holder(app: &App, holder: Option<Holder>) -> Result<()> {
    let Some(Holder { workspace, user, key }) = holder else { return Ok(()) };
    let role = members::role(&app.db, workspace, user).await?;
    if role.is_none_or(|role| role == Role::None) || api_keys::is_revoked(&app.db, key).await? {
        return Err(Error::Forbidden(
            "this link has ended with the access of whom it was made for: ask for a new one"
                .to_owned(),
        ));
    }
    Ok(())
}
