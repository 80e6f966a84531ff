//! Results whose bytes came with their receipts: they are kept in the database and are no objects of
//! the bucket.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use bytes::Bytes;
use common::data::object_list::{Object, Place};
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

    /// Counts results of a run that are kept in the database against its workspace's quota.
    ///
    /// # Errors
    /// `Full` where there is no room for them.
    pub async fn count_small(
        &self,
        owner: WorkspaceId,
        run: RunId,
        bytes: u64,
    ) -> Result<(), Error> {
        self.quotas.reserve_run(owner, run, bytes).await?.keep();
        Ok(())
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
