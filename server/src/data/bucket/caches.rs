//! Files that are uploaded for the caches of containers. The bucket is all that is known of them:
//! an upload may go there without the server.

use std::time::Duration;

use chrono::{DateTime, Utc};
use common::data::cache_name;
use common::protocol::CacheFile;
use object_store::ObjectMeta;
use reqwest::Method;

use super::blob_key::{BlobKey, Whose};
use crate::clock;
use crate::data::{ByteStream, DIRECT_LIVES, Data, Error};

/// The most files of one cache.
pub const FILES_MAX: usize = 2_000;

/// A file of a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    pub file: CacheFile,
    pub updated_at: DateTime<Utc>,
}

/// A file of a cache, for a node.
pub enum OpenedCached {
    /// It reads the file itself, as long as it has this entity tag.
    Link {
        url: String,
        size: u64,
        etag: String,
    },
    Bytes {
        size: u64,
        bytes: ByteStream,
    },
}

impl Data {
    /// All files of a cache, by name.
    pub async fn cached(&self, whose: Whose) -> Result<Vec<Cached>, Error> {
        let found = self.bucket.list(&whose.folder(), FILES_MAX).await?;
        let files = found.into_iter().filter(|(name, _)| cache_name::is_name(name));
        let mut files: Vec<_> = files.map(|(name, meta)| of(name, &meta)).collect();
        files.sort_by(|one, two| one.file.name.cmp(&two.file.name));
        Ok(files)
    }

    /// A file of a cache at exactly this version, from byte `from` on.
    ///
    /// # Errors
    /// `NotFound` where it has been replaced or removed.
    pub async fn open_cached(
        &self,
        key: &BlobKey,
        version: &str,
        from: u64,
    ) -> Result<OpenedCached, Error> {
        let gone = || Error::NotFound(key.path());
        let meta = self.bucket.head(key).await?.ok_or_else(gone)?;
        let Some(etag) = meta.e_tag.clone().filter(|_| self::version(&meta) == version) else {
            return Err(gone());
        };
        let size = meta.size;
        if from > size {
            return Err(Error::Mismatch);
        }
        if let Some(url) = self.bucket.sign(Method::GET, key, None, DIRECT_LIVES).await? {
            return Ok(OpenedCached::Link { url, size, etag });
        }
        let bytes = if from == size {
            super::download::no_bytes()
        } else {
            match self.bucket.get_version(key, from..size, Some(&etag)).await {
                Err(Error::Mismatch) => return Err(gone()),
                read => read?,
            }
        };
        Ok(OpenedCached::Bytes { size, bytes })
    }

    /// A URL to which the file can be PUT, and when it ends.
    pub async fn upload_cached(&self, key: &BlobKey) -> Result<(String, DateTime<Utc>), Error> {
        const LIVES: Duration = Duration::from_secs(3600);
        let expires_at = super::links::expiry(clock::now(), LIVES);
        Ok((self.upload_link(key, LIVES).await?, expires_at))
    }

    /// Removes a file of a cache; false where there is none.
    pub async fn remove_cached(&self, key: &BlobKey) -> Result<bool, Error> {
        let there = self.bucket.head(key).await?.is_some();
        self.bucket.remove(key).await?;
        Ok(there)
    }
}

fn of(name: String, meta: &ObjectMeta) -> Cached {
    let file = CacheFile { name, size: meta.size, version: version(meta) };
    Cached { file, updated_at: meta.last_modified }
}

/// Every store has entity tags; without one the time tells versions apart.
fn version(meta: &ObjectMeta) -> String {
    meta.e_tag.clone().unwrap_or_else(|| meta.last_modified.timestamp_micros().to_string())
}

#[cfg(test)]
mod tests {
    use common::ids::WorkspaceId;
    use uuid::Uuid;

    use super::*;
    use crate::api::testing::TestServer;
    use crate::data::testing::{stream, text};

    #[tokio::test]
    async fn cache_file_is_opened_at_the_listed_version_only() {
        let server = TestServer::open().await;
        let data = &server.app.data;
        let whose = Whose::User(WorkspaceId::new(Uuid::from_u128(1)));
        let key = BlobKey::Cached { whose, name: "models/a".to_owned() };
        data.put(&key, stream(b"one", 2)).await.unwrap();
        let listed = data.cached(whose).await.unwrap().remove(0).file;

        let opened = data.open_cached(&key, &listed.version, 1).await.unwrap();
        let OpenedCached::Bytes { size, bytes } = opened else { panic!("a folder has no links") };
        assert_eq!((size, text(bytes).await.unwrap().as_slice()), (3, &b"ne"[..]));

        data.put(&key, stream(b"two", 2)).await.unwrap();
        let stale = data.open_cached(&key, &listed.version, 0).await;
        assert!(matches!(stale, Err(Error::NotFound(_))));
        let now = data.cached(whose).await.unwrap().remove(0).file;
        assert_eq!(now.name, "models/a");
        assert_ne!(now.version, listed.version);
        assert!(data.cached(Whose::Everybody).await.unwrap().is_empty());
    }
}
