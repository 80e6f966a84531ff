//! Keeps the number of the last committed batch in a file beside the database, so that a database
//! that has lost its end is noticed: SQLite takes a log that was deleted or shortened for one that
//! never held more.
//!
//! The number is handed to the operating system after each commit and before anything of the batch
//! is acknowledged, which is cheap, so the end of a killed server is in it. It is synced to the disk
//! once a second: only a power cut can leave an older number.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use common::error_chain::chain;
use tokio_util::sync::CancellationToken;

use crate::durable;
use crate::store;
use crate::store::Db;
use crate::store::market::batch_number;

const NAME: &str = "last-batch";
const PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("database")]
    Db(#[from] store::Error),
    #[error("{} cannot be read", .file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error(
        "the database ends at batch {found}, but batch {committed} was committed, as {} says: its \
         log (fanfold.sqlite-wal) was deleted or shortened, or an older copy was restored. Put the \
         right files back, or delete {} to go on without what is missing; \
         docs/operations/backup.md says more", .file.display(), .file.display()
    )]
    Behind { file: PathBuf, found: i64, committed: i64 },
}

/// Compares the database with the file of a data folder. To be asked before the schema is brought up
/// to date: a database that has lost its log must not be written, or the log could not be put back.
///
/// # Errors
/// `Behind` where committed batches are missing. A damaged file is reported in the log and ignored:
/// the start writes it again.
pub async fn check(data_dir: &Path, db: &Db) -> Result<(), Error> {
    let file = data_dir.join(NAME);
    let text = match std::fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::Read { file, source }),
    };
    let Some(committed) = decode(&text) else {
        tracing::warn!(file = %file.display(), "the file is damaged and is not used");
        return Ok(());
    };
    let found = batch_number::last_if_any(db).await?;
    if found < committed { Err(Error::Behind { file, found, committed }) } else { Ok(()) }
}

/// The file of a running server; clones share it.
#[derive(Clone)]
pub struct LastBatch {
    file: Arc<File>,
    noted: Arc<AtomicI64>,
}

impl LastBatch {
    /// Opens the file of a data folder for this batch and those that follow.
    pub fn open(data_dir: &Path, batch: i64) -> io::Result<Self> {
        let path = data_dir.join(NAME);
        durable::write(&path, &encode(batch))?;
        let file = OpenOptions::new().write(true).open(path)?;
        Ok(Self { file: Arc::new(file), noted: Arc::new(AtomicI64::new(batch)) })
    }

    /// Notes a batch that is committed. On return the number outlives the process.
    pub fn note(&self, batch: i64) {
        // All numbers are as long, and a write within one page is not torn by a kill. It goes to
        // memory: to hand it to a thread of its own would take longer.
        report(&self.file.write_all_at(&encode(batch), 0));
        self.noted.store(batch, Ordering::Relaxed);
    }

    /// Brings what is noted to the disk once a second, until told to stop.
    pub async fn keep_synced(self, stop: CancellationToken) {
        let mut synced = self.noted.load(Ordering::Relaxed);
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = period.tick() => {}
            }
            let noted = self.noted.load(Ordering::Relaxed);
            if noted != synced && self.sync().await {
                synced = noted;
            }
        }
    }

    async fn sync(&self) -> bool {
        let file = self.file.clone();
        let done = tokio::task::spawn_blocking(move || file.sync_data()).await;
        report(&done.unwrap_or_else(|error| Err(io::Error::other(error))))
    }
}

/// Gives whether something was done with the file. The database is whole without it.
fn report(done: &io::Result<()>) -> bool {
    if let Err(error) = done {
        tracing::warn!(error = %chain(error), "the last batch could not be noted");
    }
    done.is_ok()
}

/// The number and its checksum, always of the same length.
fn encode(batch: i64) -> Vec<u8> {
    let number = format!("{batch:020}");
    format!("{number} {:08x}\n", crc32fast::hash(number.as_bytes())).into_bytes()
}

fn decode(text: &[u8]) -> Option<i64> {
    let batch = std::str::from_utf8(text).ok()?.split(' ').next()?.parse().ok()?;
    (encode(batch) == text).then_some(batch)
}

/// What the file of a data folder says.
#[cfg(test)]
pub fn noted(data_dir: &Path) -> Option<i64> {
    decode(&std::fs::read(data_dir.join(NAME)).ok()?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::testing::{count_batch, databases};

    #[tokio::test]
    async fn database_without_committed_batches_is_refused() {
        for fresh in databases().await {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join(NAME);
            check(folder.path(), &fresh.db).await.unwrap();
            count_batch(&fresh.db).await;

            for committed in [0, 1] {
                fs::write(&file, encode(committed)).unwrap();
                check(folder.path(), &fresh.db).await.unwrap();
            }
            fs::write(&file, encode(2)).unwrap();
            let behind = check(folder.path(), &fresh.db).await.unwrap_err().to_string();

            assert!(behind.contains(&file.display().to_string()), "{behind}");
            assert!(behind.contains("ends at batch 1, but batch 2"), "{behind}");
        }
    }

    #[tokio::test]
    async fn note_is_written_at_once_and_read_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let last = LastBatch::open(folder.path(), 8).unwrap();
        assert_eq!(noted(folder.path()), Some(8));
        for batch in 9..=1_001 {
            last.note(batch);
            assert_eq!(noted(folder.path()), Some(batch));
        }

        LastBatch::open(folder.path(), 1_001).unwrap();
        assert_eq!(noted(folder.path()), Some(1_001));
    }

    #[test]
    fn note_with_any_wrong_bit_is_refused() {
        let whole = encode(1234);
        assert_eq!(decode(&whole), Some(1234));
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bytes), None, "bit {bit}");
        }
        assert_eq!(decode(b""), None);
    }
}
