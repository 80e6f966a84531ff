//! Results whose bytes came with their receipts: they are kept in the database and are no objects of
//! the bucket.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use bytes::Bytes;
use common::data::object_list::{Object, Place};
use common::digest::Digest;
use common::ids::{RunId, WorkspaceId};
use common::protocol::Contents;
use common::run::task::StageNo;
use futures::StreamExt as _;

use super::bucket::blob_key::BlobKey;
use super::{ByteStream, Data, Error, Stat};
use crate::store::market::tasks;
use crate::store::market::tasks::small_results;

impl Data {
    /// The small results of those of a stage's tasks that have some.
    pub async fn small_results(
        &self,
        run: RunId,
        stage: StageNo,
        tasks: RangeInclusive<u32>,
    ) -> Result<BTreeMap<u32, Contents>, Error> {
        Ok(small_results::of_tasks(&self.db, run, stage, tasks).await?)
    }

    /// Counts results of a run whose bytes do not pass through here against its workspace's quota.
    ///
    /// # Errors
    /// `Full` where there is no room for them.
    pub async fn count_results(
        &self,
        owner: WorkspaceId,
        run: RunId,
        bytes: u64,
    ) -> Result<(), Error> {
        self.quotas.reserve_run(owner, run, bytes).await?.keep();
        Ok(())
    }

    /// The bytes of a range of a result that a node has given.
    ///
    /// # Errors
    /// `NotFound`, and `Damaged` where an object is not the one that was stored.
    pub async fn get_result(
        &self,
        key: &BlobKey,
        digest: Digest,
        name: &str,
        range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        if let Some(bytes) = self.find_small(key).await? {
            return part(&bytes, range);
        }
        let stat = self.bucket.stat(key).await?;
        let stat = stat.ok_or_else(|| Error::NotFound(key.path()))?;
        self.object_checked(key, &stat, digest, name, range).await
    }

    /// The bytes of a small result, which are right; `None` for everything else.
    pub(super) async fn find_small(&self, key: &BlobKey) -> Result<Option<Bytes>, Error> {
        let BlobKey::Result { lease, digest } = key else { return Ok(None) };
        let contents = small_results::find(&self.db, lease.task).await?;
        Ok(contents.find(*digest).map(Bytes::copy_from_slice))
    }

    /// The size of a small result, and when its task ended.
    pub(super) async fn stat_small(&self, key: &BlobKey) -> Result<Option<Stat>, Error> {
        let Some(bytes) = self.find_small(key).await? else { return Ok(None) };
        let BlobKey::Result { lease, .. } = key else { return Ok(None) };
        let task = tasks::find_one(&self.db, lease.task).await?;
        let modified = task.and_then(|task| task.ended_at).unwrap_or_default();
        Ok(Some(Stat { size: bytes.len() as u64, modified, version: None }))
    }

    /// The bytes of an object that is a small result.
    pub(super) async fn small_object(&self, object: &Object) -> Result<Option<Bytes>, Error> {
        let Place::Bucket { key } = &object.place else { return Ok(None) };
        let Some(key) = BlobKey::from_path(key) else { return Ok(None) };
        self.find_small(&key).await
    }
}

/// A range of bytes that are here.
///
/// # Errors
/// `Mismatch` where it goes beyond their end.
pub(super) fn part(bytes: &Bytes, range: Range<u64>) -> Result<ByteStream, Error> {
    let at = |at: u64| usize::try_from(at).ok().filter(|at| *at <= bytes.len());
    let (start, end) = at(range.start).zip(at(range.end)).ok_or(Error::Mismatch)?;
    if start > end {
        return Err(Error::Mismatch);
    }
    Ok(futures::stream::iter([Ok(bytes.slice(start..end))]).boxed())
}

#[cfg(test)]
mod tests {
    use common::data::location::Source;
    use common::run::task::Lease;
    use futures::stream;
    use uuid::Uuid;

    use super::*;
    use crate::data::ssrf_guard::Guard;
    use crate::data::testing::{OWNER, S3Server, text};
    use crate::data::{self, Options};
    use crate::limits::quotas::Quotas;
    use crate::secrets::Secrets;
    use crate::store::Db;
    use crate::store::market::commit::tests::{half_done, process};
    use crate::store::testing::databases;

    async fn open(db: &Db, bucket: data::Bucket) -> Data {
        let options = Options {
            bucket,
            guard: Guard::new(true),
            public_url: "http://localhost".to_owned(),
            link_key: [8; 32],
        };
        let quotas = Quotas::new(db.clone(), 1 << 30);
        Data::open(options, db.clone(), Secrets::new(db.clone(), [7; 32]), quotas).await.unwrap()
    }

    fn object(key: &BlobKey) -> Object {
        let place = Place::Bucket { key: key.path() };
        Object { name: String::new(), size: 3, place, version: None }
    }

    fn key(lease: Lease) -> BlobKey {
        BlobKey::Result { lease, digest: Digest::of(b"out") }
    }

    #[tokio::test]
    async fn small_result_is_read_as_an_object_is_and_goes_with_its_run() {
        for fresh in databases().await {
            let db = &fresh.db;
            let folder = tempfile::tempdir().unwrap();
            let data = open(db, data::Bucket::Folder(folder.path().to_owned())).await;
            let run = RunId::new(Uuid::now_v7());
            half_done(db, WorkspaceId::new(Uuid::now_v7()), run).await;
            let small = key(process(run, 0));

            let stat = data.stat(&small).await.unwrap().unwrap();
            let read = data.get(&small, 1..3).await.unwrap();
            let checked =
                data.get_checked(&small, &stat, Digest::of(b"out"), "out", 0..3).await.unwrap();
            let input = data.read(OWNER, &Source::Bypass, &object(&small), 0..2).await.unwrap();

            assert_eq!(stat.size, 3, "{}", fresh.name);
            assert!(stat.modified.timestamp() > 0);
            assert_eq!(text(read).await.unwrap(), b"ut");
            assert_eq!(text(checked).await.unwrap(), b"out");
            assert_eq!(text(input).await.unwrap(), b"ou");
            assert!(matches!(data.get(&small, 0..4).await, Err(Error::Mismatch)));
            let other = BlobKey::Result { lease: process(run, 0), digest: Digest::of(b"other") };
            assert!(matches!(data.get(&other, 0..3).await, Err(Error::NotFound(_))));
            data.purge_run(run).await.unwrap();
            assert_eq!(data.stat(&small).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn small_result_has_no_link_of_the_store() {
        let server = S3Server::start().await;
        let fresh = databases().await.remove(0);
        let data = open(&fresh.db, server.options()).await;
        let run = RunId::new(Uuid::now_v7());
        half_done(&fresh.db, WorkspaceId::new(Uuid::now_v7()), run).await;
        let (small, large) = (key(process(run, 0)), key(process(run, 2)));
        let bytes = stream::iter([Ok(Bytes::from_static(b"out"))]).boxed();
        data.put(&large, bytes).await.unwrap();

        for (key, has_link) in [(small, false), (large, true)] {
            let direct = data.direct(OWNER, &Source::Bypass, &object(&key)).await.unwrap();
            let link = data.direct_link(&key, "out").await.unwrap();

            assert_eq!((direct.is_some(), link.is_some()), (has_link, has_link));
        }
    }

    #[tokio::test]
    async fn small_results_are_counted_against_the_quota() {
        let fresh = databases().await.remove(0);
        let folder = tempfile::tempdir().unwrap();
        let data = open(&fresh.db, data::Bucket::Folder(folder.path().to_owned())).await;
        let run = RunId::new(Uuid::now_v7());

        data.count_results(OWNER, run, 1 << 29).await.unwrap();
        let more = data.count_results(OWNER, run, (1 << 29) + 1).await;

        assert!(matches!(more, Err(Error::Full(_))), "{more:?}");
        data.purge_run(run).await.unwrap();
        data.count_results(OWNER, run, (1 << 29) + 1).await.unwrap();
    }
}
