//! Files of the server's own bucket that are checked against their digest before they are given to
//! somebody: a bit that has rotted is named and never served as right.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::digest::Digest;
use futures::TryStreamExt as _;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::blob_key::BlobKey;
use super::download;
use crate::data::{ByteStream, Data, Error, Stat, small_results};

/// The longest file that is read through before its first byte is given. Of a longer one the last
/// piece is held back until the whole has been checked.
const FIRST_BYTES_MAX: u64 = 256 << 20;
/// How long a file that was found right is taken for right.
const GOOD_FOR: Duration = Duration::from_secs(600);
const KEPT_MAX: usize = 4096;
/// Files that are read through at a time, for all callers together.
const AT_ONCE: usize = 2;

/// What was found right a short while ago.
pub struct Checked {
    until: Mutex<HashMap<Seen, Instant>>,
    places: Semaphore,
}

/// A file as it was when it was checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Seen {
    key: BlobKey,
    digest: Digest,
    version: Option<String>,
}

impl Default for Checked {
    fn default() -> Self {
        Self { until: Mutex::default(), places: Semaphore::new(AT_ONCE) }
    }
}

impl Checked {
    fn has(&self, seen: &Seen) -> bool {
        self.until().get(seen).is_some_and(|until| *until > Instant::now())
    }

    fn keep(&self, seen: Seen) {
        let mut until = self.until();
        if until.len() >= KEPT_MAX {
            let now = Instant::now();
            until.retain(|_, until| *until > now);
            if until.len() >= KEPT_MAX {
                until.clear();
            }
        }
        until.insert(seen, Instant::now() + GOOD_FOR);
    }

    fn until(&self) -> MutexGuard<'_, HashMap<Seen, Instant>> {
        // Only a cache: whatever is in it is whole.
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Data {
    /// The bytes of a range of a file whose digest is known; `name` is what errors call it, and
    /// `stat` what the bucket says of it. A range of a large file is given unchecked, because
    /// only the whole can be checked.
    ///
    /// # Errors
    /// `NotFound`, and `Damaged` where the file is not the one that was stored.
    pub async fn get_checked(
        &self,
        key: &BlobKey,
        stat: &Stat,
        digest: Digest,
        name: &str,
        range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        if let Some(bytes) = self.find_small(key).await? {
            return small_results::part(&bytes, range);
        }
        self.object_checked(key, stat, digest, name, range).await
    }

    /// The same of an object of the bucket.
    pub(in crate::data) async fn object_checked(
        &self,
        key: &BlobKey,
        stat: &Stat,
        digest: Digest,
        name: &str,
        range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        if stat.size <= FIRST_BYTES_MAX {
            self.check(key, stat, digest, name).await?;
            return self.bucket.get(key, range).await;
        }
        let whole = range == (0..stat.size);
        let bytes = self.bucket.get(key, range).await?;
        Ok(if whole { download::held_back(download::verified(digest, name, bytes)) } else { bytes })
    }

    /// A whole file of this size, which is not large.
    ///
    /// # Errors
    /// As above.
    pub async fn get_whole(
        &self,
        key: &BlobKey,
        size: u64,
        digest: Digest,
        name: &str,
    ) -> Result<Vec<u8>, Error> {
        let bytes = self.get(key, 0..size).await?;
        let mut bytes = download::verified(digest, name, bytes);
        let mut whole = Vec::new();
        while let Some(piece) = bytes.try_next().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }

    async fn check(
        &self,
        key: &BlobKey,
        stat: &Stat,
        digest: Digest,
        name: &str,
    ) -> Result<(), Error> {
        let seen = Seen { key: key.clone(), digest, version: stat.version.clone() };
        if self.checked.has(&seen) {
            return Ok(());
        }
        let _place = self.checked.places.acquire().await;
        // Somebody else may have asked for the same.
        if self.checked.has(&seen) {
            return Ok(());
        }
        let bytes = self.bucket.get(key, 0..stat.size).await?;
        let mut bytes = download::verified(digest, name, bytes);
        while bytes.try_next().await?.is_some() {}
        self.checked.keep(seen);
        Ok(())
    }
}
