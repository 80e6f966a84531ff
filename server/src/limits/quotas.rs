//! How much each workspace may keep in the bucket. What it keeps is counted before its bytes are
//! taken, in the table of holdings, so that neither many uploads at once nor a crash gets past it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::ids::{RunId, WorkspaceId};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::Semaphore;

use crate::data::bucket::blob_key::BlobKey;
use crate::data::{self, ByteStream};
use crate::store::storage::holdings;
use crate::store::storage::holdings::Reserved;
use crate::store::{self, Db};

/// What an object of unknown size is counted ahead by, while it comes.
const STEP_BYTES: u64 = 16 << 20;
/// The least that a run is counted ahead by, so that not every small result costs a commit.
const RUN_STEP_BYTES: u64 = 256 << 10;

/// Counts and limits what is kept; clones share it.
#[derive(Clone)]
pub struct Quotas {
    db: Db,
    most: u64,
    /// One reservation at a time: what it finds must still hold when it writes.
    turn: Arc<Semaphore>,
    runs: Arc<Mutex<HashMap<RunId, RunBytes>>>,
    /// Objects that are on their way.
    coming: Arc<Mutex<HashSet<String>>>,
}

/// The only one who sends an object now.
pub struct Sender {
    coming: Arc<Mutex<HashSet<String>>>,
    path: String,
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
    }
}

/// What the unfinished runs have stored. After a start it is what had been counted ahead.
#[derive(Debug, Clone, Copy, Default)]
struct RunBytes {
    used: u64,
    reserved: u64,
}

/// A workspace keeps as much as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the workspace's storage is full: it keeps {held} of {most} bytes and this needs {needs} more; \
     delete drafts, images, packages or cache files that are not needed, or wait: results are \
     deleted 48 hours after their job has ended"
)]
pub struct Full {
    pub held: u64,
    pub most: u64,
    pub needs: u64,
}

/// Room for something of a run that is on its way; given back unless it is kept.
#[must_use]
pub struct RunRoom {
    quotas: Quotas,
    run: RunId,
    bytes: u64,
}

impl RunRoom {
    /// It is stored.
    pub fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for RunRoom {
    fn drop(&mut self) {
        if let Some(known) = self.quotas.runs().get_mut(&self.run) {
            known.used = known.used.saturating_sub(self.bytes);
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Full(#[from] Full),
    #[error("database")]
    Db(#[from] store::Error),
}

impl Quotas {
    pub fn new(db: Db, most: u64) -> Self {
        let turn = Arc::new(Semaphore::new(1));
        Self { db, most, turn, runs: Arc::default(), coming: Arc::default() }
    }

    /// Makes the caller the only one who sends an object, or `None` where somebody does: each of
    /// several would take its room on the disk, and they are counted once.
    pub fn alone(&self, owner: WorkspaceId, key: &BlobKey) -> Option<Sender> {
        // Two workspaces may send the same image.
        let path = format!("{owner} {}", key.path());
        let mut coming = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
        let first = coming.insert(path.clone());
        first.then(|| Sender { coming: Arc::clone(&self.coming), path })
    }

    /// The most bytes that one workspace may keep.
    pub const fn most(&self) -> u64 {
        self.most
    }

    /// Counts an object that is about to be stored, with this many bytes.
    ///
    /// # Errors
    /// `Full` where the workspace would then keep more than it may.
    pub async fn reserve(
        &self,
        owner: WorkspaceId,
        key: &BlobKey,
        bytes: u64,
    ) -> Result<(), Error> {
        self.raise(owner, &key.path(), bytes).await
    }

    /// Counts what a folder is found to hold beyond its objects that were counted one by one.
    ///
    /// # Errors
    /// `Full` where the workspace keeps as much as it may.
    pub async fn check_folder(
        &self,
        owner: WorkspaceId,
        folder: &str,
        bytes: u64,
    ) -> Result<(), Error> {
        let path = format!("{folder}/");
        let one_by_one = holdings::below(&self.db, owner, &path).await?;
        holdings::set(&self.db, owner, &path, bytes.saturating_sub(one_by_one)).await?;
        let held = holdings::total(&self.db, owner).await?;
        if held >= self.most {
            return Err(Full { held, most: self.most, needs: 1 }.into());
        }
        Ok(())
    }

    /// Notes how many bytes an object has in the end; `None` where it is gone.
    pub async fn settle(
        &self,
        owner: WorkspaceId,
        key: &BlobKey,
        bytes: Option<u64>,
    ) -> Result<(), store::Error> {
        match bytes {
            Some(bytes) => holdings::set(&self.db, owner, &key.path(), bytes).await,
            None => holdings::remove(&self.db, owner, &key.path()).await,
        }
    }

    /// Passes on an object's bytes, counted before they are. One that is longer than the
    /// workspace has room for breaks off.
    pub fn counted(&self, owner: WorkspaceId, key: &BlobKey, bytes: ByteStream) -> ByteStream {
        let start = (bytes, self.clone(), key.clone(), 0u64, 0u64);
        let counted = futures::stream::try_unfold(start, move |state| async move {
            let (mut bytes, quotas, key, mut seen, mut reserved) = state;
            let Some(piece) = bytes.try_next().await? else { return Ok(None) };
            seen += piece.len() as u64;
            if seen > reserved {
                reserved = seen.saturating_add(STEP_BYTES);
                // Near the limit every step is as small as it can be.
                if quotas.reserve(owner, &key, reserved).await.is_err() {
                    reserved = seen;
                    quotas.reserve(owner, &key, reserved).await?;
                }
            }
            Ok(Some((piece, (bytes, quotas, key, seen, reserved))))
        });
        counted.boxed()
    }

    /// Counts what is about to be stored for a run.
    ///
    /// # Errors
    /// `Full` as above.
    pub async fn reserve_run(
        &self,
        owner: WorkspaceId,
        run: RunId,
        bytes: u64,
    ) -> Result<RunRoom, Error> {
        let folder = BlobKey::run_folder(run);
        let known = self.runs().get(&run).copied();
        if known.is_none() {
            let held = holdings::find(&self.db, owner, &folder).await?.unwrap_or(0);
            self.runs().entry(run).or_insert(RunBytes { used: held, reserved: held });
        }
        let (needed, reserved) = {
            let mut runs = self.runs();
            let known = runs.entry(run).or_default();
            known.used = known.used.saturating_add(bytes);
            (known.used, known.reserved)
        };
        let room = RunRoom { quotas: self.clone(), run, bytes };
        if needed <= reserved {
            return Ok(room);
        }
        let ahead = needed + (needed / 4).max(RUN_STEP_BYTES);
        let mut raised = self.raise(owner, &folder, ahead).await.map(|()| ahead);
        if let Err(Error::Full(_)) = raised {
            raised = self.raise(owner, &folder, needed).await.map(|()| needed);
        }
        let raised = raised?;
        let mut runs = self.runs();
        let known = runs.entry(run).or_default();
        known.reserved = known.reserved.max(raised);
        drop(runs);
        Ok(room)
    }

    /// The same for bytes whose number is not known before they have come.
    pub fn counted_run(&self, owner: WorkspaceId, run: RunId, bytes: ByteStream) -> ByteStream {
        let start = (bytes, RunRoom { quotas: self.clone(), run, bytes: 0 });
        let counted = futures::stream::try_unfold(start, move |(mut bytes, mut room)| async move {
            let Some(piece) = bytes.try_next().await? else {
                room.keep();
                return Ok(None);
            };
            let more = room.quotas.reserve_run(owner, run, piece.len() as u64).await?;
            room.bytes += more.bytes;
            more.keep();
            Ok(Some((piece, (bytes, room))))
        });
        counted.boxed()
    }

    /// Forgets a deleted object for all its owners.
    pub async fn forget(&self, key: &BlobKey) -> Result<(), store::Error> {
        holdings::remove_path(&self.db, &key.path()).await
    }

    /// Forgets a run whose data has been deleted.
    pub async fn forget_run(&self, run: RunId) -> Result<(), store::Error> {
        self.runs().remove(&run);
        holdings::remove_path(&self.db, &BlobKey::run_folder(run)).await
    }

    async fn raise(&self, owner: WorkspaceId, path: &str, bytes: u64) -> Result<(), Error> {
        let _turn = self.turn.acquire().await;
        match holdings::reserve(&self.db, owner, path, bytes, self.most).await? {
            Reserved::Done => Ok(()),
            Reserved::Full { held } => Err(Full { held, most: self.most, needs: bytes }.into()),
        }
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<RunId, RunBytes>> {
        // Each change is a number.
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Error> for data::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Full(full) => Self::Full(full),
            Error::Db(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::api::testing::database;
    use crate::data::testing::{stream, text};

    const OWNER: WorkspaceId = WorkspaceId::new(Uuid::from_u128(1));
    const RUN: RunId = RunId::new(Uuid::from_u128(2));

    fn upload(n: u128) -> BlobKey {
        BlobKey::Upload(common::ids::JobId::new(Uuid::from_u128(n)))
    }

    #[tokio::test]
    async fn object_has_one_sender_at_a_time() {
        let (db, _folder) = database().await;
        let quotas = Quotas::new(db, 100);
        let first = quotas.alone(OWNER, &upload(1));

        assert!(first.is_some() && quotas.alone(OWNER, &upload(1)).is_none());
        assert!(quotas.alone(OWNER, &upload(2)).is_some());
        drop(first);
        assert!(quotas.alone(OWNER, &upload(1)).is_some());
    }

    #[tokio::test]
    async fn simultaneous_uploads_do_not_share_the_same_quota() {
        let (db, _folder) = database().await;
        let quotas = Quotas::new(db.clone(), 100);
        let keys: Vec<_> = (0..8).map(upload).collect();

        let all = keys.iter().map(|key| quotas.reserve(OWNER, key, 30));
        let fit = futures::future::join_all(all).await;

        assert_eq!(fit.iter().filter(|one| one.is_ok()).count(), 3);
        assert_eq!(holdings::total(&db, OWNER).await.unwrap(), 90);
    }

    #[tokio::test]
    async fn upload_of_unknown_size_breaks_off_at_the_limit() {
        let (db, _folder) = database().await;
        let quotas = Quotas::new(db, 1_000);
        let key = upload(1);

        let fits = quotas.counted(OWNER, &key, stream(&[7; 1_000], 100));
        assert_eq!(text(fits).await.unwrap().len(), 1_000);

        quotas.settle(OWNER, &key, None).await.unwrap();
        let long = quotas.counted(OWNER, &key, stream(&[7; 1_001], 100));
        assert!(matches!(text(long).await, Err(data::Error::Full(_))));
    }

    #[tokio::test]
    async fn run_is_reserved_in_advance_and_fully_after_a_restart() {
        let (db, _folder) = database().await;
        let most = 4 * RUN_STEP_BYTES;
        let quotas = Quotas::new(db.clone(), most);
        let keep = async |bytes| quotas.reserve_run(OWNER, RUN, bytes).await.map(RunRoom::keep);
        keep(10).await.unwrap();
        keep(10).await.unwrap();
        // What is not kept is given back.
        drop(quotas.reserve_run(OWNER, RUN, RUN_STEP_BYTES - 20).await.unwrap());
        assert_eq!(holdings::total(&db, OWNER).await.unwrap(), 10 + RUN_STEP_BYTES);

        let again = Quotas::new(db.clone(), most);

        assert!(again.reserve_run(OWNER, RUN, most - RUN_STEP_BYTES).await.is_err());
        again.reserve_run(OWNER, RUN, most - RUN_STEP_BYTES - 10).await.unwrap().keep();
        assert!(again.reserve_run(OWNER, RUN, 1).await.is_err());
        again.forget_run(RUN).await.unwrap();
        assert_eq!(holdings::total(&db, OWNER).await.unwrap(), 0);
    }
}
