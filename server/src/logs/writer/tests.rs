//! Lines against both databases, with a coordinator that is killed and started again.

use common::market::Policy;
use common::package::config::JobConfig;
use common::protocol::{Level, LogLine, Stream};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::*;
use crate::coordinator::Error;
use crate::coordinator::testing::{Worker, start};
use crate::data::Data;
use crate::logs::compactor::compact;
use crate::logs::reader::Logs;
use crate::logs::testing::open_data;
use crate::metrics::Metrics;
use crate::startup::last_batch::LastBatch;
use crate::store::jobs::StartAs;
use crate::store::logs::Filter;
use crate::store::market::batch_number;
use crate::store::people::workspaces;
use crate::store::testing::{databases, draft};
use crate::traces::Traces;

/// A coordinator and a writer of logs on a database.
struct Life {
    coordinator: Coordinator,
    writer: LogWriter,
    engine: JoinHandle<Result<(), Error>>,
    writing: JoinHandle<()>,
}

impl Life {
    async fn start(db: &Db, data: &Data, folder: &TempDir) -> Self {
        let stop = CancellationToken::new();
        let noted = LastBatch::open(folder.path(), batch_number::last(db).await.unwrap()).unwrap();
        let (coordinator, leases, _, engine) = Coordinator::start(
            db.clone(),
            data.clone(),
            Policy::default(),
            noted,
            Metrics::new(),
            Traces::off(),
            stop.clone(),
        )
        .await
        .unwrap();
        let (writer, writing) = LogWriter::new(db.clone(), leases, coordinator.clone(), stop);
        let (engine, writing) = (tokio::spawn(engine), tokio::spawn(writing));
        Self { coordinator, writer, engine, writing }
    }

    async fn kill(self) {
        self.engine.abort();
        self.writing.abort();
        assert!(self.engine.await.unwrap_err().is_cancelled());
        assert!(self.writing.await.unwrap_err().is_cancelled());
    }
}

/// Lines that have their numbers as their texts.
fn batch(lease: Lease, lines: std::ops::Range<u32>) -> LogBatch {
    let line = |n: u32| LogLine {
        at_us: n.into(),
        level: Level::Unknown,
        stream: Stream::Out,
        text: n.to_string(),
    };
    LogBatch { lease, first: lines.start, lines: lines.map(line).collect() }
}

async fn started(life: &Life, db: &Db) -> (Worker, Lease) {
    let workspace = workspaces::owner(db).await.unwrap().workspace;
    let amount = "100".parse().unwrap();
    life.coordinator.grant(workspace, amount, "first").await.unwrap();
    let spec = draft(db, workspace).await;
    start(&life.coordinator, spec, StartAs::Only(JobConfig::default())).await.unwrap();
    let mut worker = Worker::join(db, workspace).await;
    let lease = loop {
        worker.turn(&life.coordinator).await;
        if let Some(lease) = worker.first() {
            break lease;
        }
    };
    (worker, lease)
}

async fn read(db: &Db, data: &Data, run: RunId) -> Vec<String> {
    let mut scan = Logs { db, data }.scan(run, Filter::default(), None);
    let mut texts = Vec::new();
    while let Some(batches) = scan.next().await.unwrap() {
        let lines = batches.into_iter().flat_map(|batch| batch.lines);
        texts.extend(lines.map(|line| line.text));
    }
    texts
}

#[tokio::test]
async fn lines_are_stored_once_however_often_they_come_and_whoever_is_killed() {
    for fresh in databases().await {
        let (db, folder) = (&fresh.db, tempfile::tempdir().unwrap());
        let data = &open_data(db, folder.path()).await;
        let life = Life::start(db, data, &folder).await;
        let (mut worker, lease) = started(&life, db).await;
        let (run, node) = (lease.task.run, worker.node());
        let until = |n: u32| (0..n).map(|n| n.to_string()).collect::<Vec<_>>();

        assert_eq!(life.writer.store(node, vec![batch(lease, 0..3)]).await, [(lease, 3)]);
        let both = vec![batch(lease, 0..3), batch(lease, 3..5)];
        assert_eq!(life.writer.store(node, both).await, [(lease, 3), (lease, 5)]);
        assert_eq!(read(db, data, run).await, until(5), "{}", fresh.name);

        // What a node sends again of which it was not told, after some of it has been moved.
        compact(db, data, run).await.unwrap();
        life.writer.store(node, vec![batch(lease, 5..6)]).await;
        life.kill().await;
        let life = Life::start(db, data, &folder).await;
        assert_eq!(life.writer.store(node, vec![batch(lease, 2..8)]).await, [(lease, 8)]);
        assert_eq!(read(db, data, run).await, until(8), "{}", fresh.name);

        // Its receipt is settled before its last lines are stored.
        worker.gives(&life.coordinator, lease, vec![]).await;
        assert_eq!(life.writer.store(node, vec![batch(lease, 7..9)]).await, [(lease, 9)]);
        assert_eq!(read(db, data, run).await, until(9), "{}", fresh.name);
        life.kill().await;
    }
}

#[tokio::test]
async fn lines_of_somebody_elses_attempt_are_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let db = &databases().await.swap_remove(0).db;
    let data = &open_data(db, folder.path()).await;
    let life = Life::start(db, data, &folder).await;
    let (_, lease) = started(&life, db).await;
    let stranger = NodeId::new(Uuid::from_u128(1));

    let safe = life.writer.store(stranger, vec![batch(lease, 0..3)]).await;

    // It need not be sent again.
    assert_eq!(safe, [(lease, 3)]);
    assert!(read(db, data, lease.task.run).await.is_empty());
    life.kill().await;
}

#[tokio::test]
async fn lines_wait_for_a_database_that_is_away_and_nobody_is_told_that_they_are_safe() {
    let folder = tempfile::tempdir().unwrap();
    let db = &databases().await.swap_remove(0).db;
    let data = &open_data(db, folder.path()).await;
    let life = Life::start(db, data, &folder).await;
    let (worker, lease) = started(&life, db).await;
    let (run, node) = (lease.task.run, worker.node());

    // Another one's transaction keeps all writers waiting.
    let other = begin(db).await.unwrap();
    assert_eq!(life.writer.store(node, vec![batch(lease, 0..3)]).await, []);
    drop(other);

    assert_eq!(life.writer.store(node, vec![batch(lease, 0..4)]).await, [(lease, 4)]);
    assert_eq!(read(db, data, run).await, ["0", "1", "2", "3"]);
    life.kill().await;
}
