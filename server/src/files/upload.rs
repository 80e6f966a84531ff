//! Uploads: a job's source file, and files for caches.

use bytes::Bytes;
use common::digest::{Digest, Digester};
use common::ids::{JobId, WorkspaceId};
use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::Method;
use tracing::Instrument as _;

use super::refused;
use crate::app::App;
use crate::data::bucket::blob_key::{BlobKey, Whose};
use crate::data::{self, ByteStream, Data, Stored};
use crate::error::{Error, Result};
use crate::metrics::TransferKind;
use crate::store::{Db, jobs};

/// An object that a link lets its client write.
pub struct Upload {
    app: App,
    key: BlobKey,
    owner: Option<WorkspaceId>,
}

/// What is known of a file before its first byte.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected {
    pub size: Option<u64>,
    pub digest: Option<Digest>,
}

impl Upload {
    /// Checks a link: its last path segment and its query, as they came.
    ///
    /// # Errors
    /// `Forbidden` where the link allows no writing, or not any more: once a job has started, its
    /// source stays as it is.
    pub async fn open(app: &App, file: &str, query: &str) -> Result<Self> {
        let key = app.data.open_link(&Method::PUT, file, query).map_err(refused)?.key;
        let owner = match &key {
            BlobKey::Upload(job) => {
                Some(jobs::takes_upload(&app.db, *job).await?.ok_or_else(too_late)?)
            }
            BlobKey::Cached { whose: Whose::User(owner), .. } => Some(*owner),
            // The shared cache is the server's owner's; the others have no upload link.
            BlobKey::Cached { whose: Whose::Everybody, .. }
            | BlobKey::Package(_)
            | BlobKey::Image(_)
            | BlobKey::Staged { .. }
            | BlobKey::Sums { .. }
            | BlobKey::Result { .. }
            | BlobKey::Final { .. }
            | BlobKey::Log { .. } => None,
        };
        Ok(Self { app: app.clone(), key, owner })
    }

    /// The workspace that the object counts against, if any.
    pub const fn owner(&self) -> Option<WorkspaceId> {
        self.owner
    }

    /// Stores the bytes in place of what is there, and gives their size.
    ///
    /// # Errors
    /// Where the quota is used up, the digest is another one, or the job was started meanwhile.
    pub async fn store(self, expected: Expected, bytes: ByteStream) -> Result<u64> {
        let counted = self.app.metrics.transfers.counted(TransferKind::Upload, bytes);
        let bytes: ByteStream = Box::pin(counted);
        // On its own, so that what was counted is settled after a client who has gone, too.
        let put = tokio::spawn(self.put(expected, bytes).in_current_span());
        Ok(put.await.map_err(|error| Error::Internal(Box::new(error)))??.size)
    }

    async fn put(self, expected: Expected, bytes: ByteStream) -> Result<Stored> {
        let Self { app, key, owner } = self;
        let bytes = if let BlobKey::Upload(job) = key {
            while_draft(app.db.clone(), job, bytes)
        } else {
            bytes
        };
        let bytes = with_digest(expected.digest, bytes);
        let stored = match owner {
            Some(owner) => put_counted(&app.data, owner, &key, expected.size, bytes).await?,
            None => app.data.put(&key, bytes).await?,
        };
        if let BlobKey::Upload(job) = key {
            jobs::note_received(&app.db, job, stored.digest).await?;
        }
        Ok(stored)
    }
}

/// Stores an object that counts against its workspace's quota: before the first byte where its
/// size is known, else while it arrives.
async fn put_counted(
    data: &Data,
    owner: WorkspaceId,
    key: &BlobKey,
    size: Option<u64>,
    bytes: ByteStream,
) -> Result<Stored> {
    let quotas = data.quotas();
    let _alone = quotas.alone(owner, key).ok_or_else(already_uploading)?;
    let bytes = match size {
        Some(size) => {
            quotas.reserve(owner, key, size).await?;
            bytes
        }
        None => quotas.counted(owner, key, bytes),
    };
    let put = data.put(key, bytes).await;
    let there = match &put {
        Ok(stored) => Some(stored.size),
        // An older file may have stayed.
        Err(_) => data.size(key).await?,
    };
    quotas.settle(owner, key, there).await?;
    Ok(put?)
}

/// Refuses a second upload of an object at the same time.
pub fn already_uploading() -> Error {
    Error::NotNow("this file is being uploaded already: wait until that has ended".to_owned())
}

fn too_late() -> Error {
    Error::Forbidden(
        "this job has been started or deleted: its file cannot change any more".to_owned(),
    )
}

/// Passes an upload on, and asks again at its end: the file must not be replaced under a run that
/// was started meanwhile.
fn while_draft(db: Db, job: JobId, bytes: ByteStream) -> ByteStream {
    let end = futures::stream::once(async move {
        match jobs::takes_upload(&db, job).await {
            Ok(Some(_)) => Ok(Bytes::new()),
            Ok(None) => Err(data::Error::Customer(
                "this job has been started or deleted while its file was uploaded".to_owned(),
            )),
            Err(error) => Err(std::io::Error::other(error).into()),
        }
    });
    Box::pin(bytes.chain(end))
}

/// The same bytes; the stream fails at its end where they have another digest.
fn with_digest(digest: Option<Digest>, bytes: ByteStream) -> ByteStream {
    let Some(expected) = digest else { return bytes };
    let start = (bytes, Digester::default());
    let checked = futures::stream::try_unfold(start, move |(mut bytes, mut digester)| async move {
        match bytes.try_next().await? {
            Some(piece) => {
                digester.update(&piece);
                Ok::<_, data::Error>(Some((piece, (bytes, digester))))
            }
            None if digester.finish() == expected => Ok(None),
            None => Err(data::Error::Customer(
                "the bytes that arrived do not have the digest that was announced: send the \
                 file again"
                    .to_owned(),
            )),
        }
    });
    checked.boxed()
}
