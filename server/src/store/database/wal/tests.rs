//! Logs as a killed server leaves them, with a bit that is wrong or an end that is missing.

use std::fs;

use sea_orm::ConnectionTrait as _;

use super::*;
use crate::store::database::integrity;
use crate::store::open;

/// A database as a killed server leaves it, with 50 transactions in its log.
struct Killed {
    folder: tempfile::TempDir,
    url: String,
    wal: PathBuf,
    bytes: Vec<u8>,
}

async fn killed() -> Killed {
    let folder = tempfile::tempdir().unwrap();
    let [running, left] = ["running", "left"].map(|name| folder.path().join(name));
    let url = |file: &Path| format!("sqlite://{}", file.display());
    let wal = |file: &Path| PathBuf::from(format!("{}-wal", file.display()));
    // Closing moves the log into the database: what follows is the log's only content.
    open(&url(&running)).await.unwrap().close().await.unwrap();
    let db = open(&url(&running)).await.unwrap();
    db.execute_unprepared("CREATE TABLE kept (x INTEGER)").await.unwrap();
    for n in 0..50 {
        db.execute_unprepared(&format!("INSERT INTO kept VALUES ({n})")).await.unwrap();
    }
    fs::copy(&running, &left).unwrap();
    fs::copy(wal(&running), wal(&left)).unwrap();
    db.close().await.unwrap();
    let bytes = fs::read(wal(&left)).unwrap();
    Killed { folder, url: url(&left), wal: wal(&left), bytes }
}

const FRAME: usize = FRAME_HEADER + 4096;

#[tokio::test]
async fn intact_log_is_accepted_without_loss() {
    let killed = killed().await;

    assert_eq!(damage(&killed.url).unwrap(), None);
    let db = open(&killed.url).await.unwrap();
    assert!(integrity::problems(&db).await.unwrap().is_empty());
}

#[tokio::test]
async fn wrong_bit_before_acknowledged_transactions_is_detected() {
    let killed = killed().await;
    let end = killed.bytes.len();
    let header = [0, 9, 17, 25];
    let frames = [32, 36, 42, 60, 5_000, end / 2, end - 2 * FRAME + 50, end - 2 * FRAME + 9];
    for at in header.into_iter().chain(frames) {
        let mut bytes = killed.bytes.clone();
        bytes[at] ^= 0x01;
        fs::write(&killed.wal, bytes).unwrap();

        let found = damage(&killed.url).unwrap();

        assert!(found.is_some_and(|found| found.file == killed.wal), "byte {at}");
    }
}

#[tokio::test]
async fn log_torn_by_a_power_cut_is_accepted() {
    let killed = killed().await;
    let torn = |cut: usize| killed.bytes[..killed.bytes.len() - cut].to_vec();
    let mut last = killed.bytes.clone();
    let at = last.len() - 100;
    last[at] ^= 1;
    let zeros = vec![0; 10_000];
    for bytes in [torn(1), torn(4_000), torn(FRAME), torn(10_000), vec![], zeros, last] {
        fs::write(&killed.wal, bytes).unwrap();

        assert_eq!(damage(&killed.url).unwrap(), None);
    }
}

#[tokio::test]
async fn frames_of_an_older_log_behind_the_end_of_a_newer_one_are_no_damage() {
    let killed = killed().await;
    let db = open(&killed.url).await.unwrap();
    db.execute_unprepared("PRAGMA wal_checkpoint(RESTART)").await.unwrap();
    db.execute_unprepared("INSERT INTO kept VALUES (1)").await.unwrap();
    let copy = killed.folder.path().join("copy");
    fs::copy(&killed.wal, format!("{}-wal", copy.display())).unwrap();
    assert!(fs::metadata(&killed.wal).unwrap().len() > 10 * FRAME as u64, "the log was not cut");

    assert_eq!(damage(&format!("sqlite://{}", copy.display())).unwrap(), None);
}

#[tokio::test]
async fn transaction_torn_by_a_power_cut_in_a_log_that_began_again_is_accepted() {
    let killed = killed().await;
    let db = open(&killed.url).await.unwrap();
    db.execute_unprepared("PRAGMA wal_checkpoint(RESTART)").await.unwrap();
    let many = "INSERT INTO kept WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n \
                WHERE x < 20000) SELECT x FROM n";
    db.execute_unprepared(many).await.unwrap();
    let mut bytes = fs::read(&killed.wal).unwrap();
    assert_ne!(bytes[..HEADER], killed.bytes[..HEADER], "the log was not started again");
    // The second to the fourth frame were not written: those of the older log are still there.
    let unwritten = HEADER + FRAME..HEADER + 4 * FRAME;
    bytes[unwritten.clone()].copy_from_slice(&killed.bytes[unwritten]);
    let copy = killed.folder.path().join("copy");
    fs::write(format!("{}-wal", copy.display()), bytes).unwrap();

    assert_eq!(damage(&format!("sqlite://{}", copy.display())).unwrap(), None);
}
