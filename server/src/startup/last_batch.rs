//! Keeps the number of the last committed batch in a file beside the database, so that a database
//! that has lost its end is noticed: SQLite takes a log that was deleted or shortened for one that
//! never held more.
//!
//! The number is a lower bound: it is read back from the database at most once a second, after the
//! commit, so that it costs the commits nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
/// the next batch writes it anew.
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

/// Writes the file whenever the number has risen, until told to stop.
pub async fn run(data_dir: PathBuf, db: Db, stop: CancellationToken) {
    let file = data_dir.join(NAME);
    let mut written = None;
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick() => {}
        }
        // A database that is away is reported by everybody else.
        let Ok(last) = batch_number::last(&db).await else { continue };
        if written == Some(last) {
            continue;
        }
        let (to, content) = (file.clone(), encode(last));
        match tokio::task::spawn_blocking(move || durable::write(&to, &content)).await {
            Ok(Ok(())) => written = Some(last),
            Ok(Err(error)) => tracing::debug!(%error, "the last batch could not be noted"),
            Err(error) => tracing::error!(%error, "the last batch could not be noted"),
        }
    }
}

/// The number and its checksum.
fn encode(batch: i64) -> Vec<u8> {
    let number = batch.to_string();
    format!("{number} {:08x}\n", crc32fast::hash(number.as_bytes())).into_bytes()
}

fn decode(text: &[u8]) -> Option<i64> {
    let batch = std::str::from_utf8(text).ok()?.split(' ').next()?.parse().ok()?;
    (encode(batch) == text).then_some(batch)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::testing::{count_batch, databases};

    #[tokio::test]
    async fn a_database_that_lacks_committed_batches_is_refused() {
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
    async fn the_file_follows_the_database_and_outlives_a_kill() {
        let fresh = databases().await.remove(0);
        let folder = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let running = run(folder.path().to_owned(), fresh.db.clone(), stop.clone());
        let running = tokio::spawn(running);

        for batch in 1..=2 {
            count_batch(&fresh.db).await;
            let noted = async {
                while fs::read(folder.path().join(NAME)).ok().as_deref().and_then(decode)
                    != Some(batch)
                {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), noted).await.unwrap();
        }
        stop.cancel();
        running.await.unwrap();
    }

    #[test]
    fn any_wrong_bit_of_the_file_is_noticed() {
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
