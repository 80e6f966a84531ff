//! The promises of the loop itself: what an answer means, and what no caller can break.

mod bookings;
mod creates;
mod starts;
mod values;

use std::time::Duration;

use common::compute::resources::{Resources, Usage};
use common::protocol::{Outcome, Receipt, Sync};
use common::run::task::{Lease, TaskRef};
use common::testing::{self, PROCESS};
use futures::FutureExt as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::DropGuard;
use uuid::Uuid;

use super::*;
use crate::data;
use crate::data::ssrf_guard::Guard;
use crate::limits::quotas::Quotas;
use crate::secrets::Secrets;
use crate::startup::last_batch;
use crate::store::people::workspaces;
use crate::store::testing::count_batch;

const SOON: Duration = Duration::from_secs(20);

/// A coordinator with a workspace that has credits. Everything ends when it is dropped.
struct Room {
    coordinator: Coordinator,
    engine: JoinHandle<Result<(), Error>>,
    db: Db,
    data: Data,
    workspace: WorkspaceId,
    _stop: DropGuard,
    folder: tempfile::TempDir,
}

async fn granted() -> Room {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("test.sqlite").display());
    let db = store::open(&url).await.unwrap();
    let options = data::Options {
        bucket: data::Bucket::Folder(folder.path().join("bucket")),
        guard: Guard::new(false),
        public_url: "http://localhost".to_owned(),
        link_key: [8; 32],
    };
    let quotas = Quotas::new(db.clone(), 1 << 30);
    let data =
        Data::open(options, db.clone(), Secrets::new(db.clone(), [7; 32]), quotas).await.unwrap();
    let workspace = workspaces::owner(&db).await.unwrap().workspace;
    let room = Room::open(db, data, workspace, folder).await;
    let amount = Credits::from_units(100_000_000_000).unwrap();
    room.coordinator.grant(workspace, amount, "first").await.unwrap();
    room
}

impl Room {
    async fn open(db: Db, data: Data, workspace: WorkspaceId, folder: tempfile::TempDir) -> Self {
        let stop = CancellationToken::new();
        let batch = store::market::batch_number::last(&db).await.unwrap();
        let noted = LastBatch::open(folder.path(), batch).unwrap();
        let (policy, off) = (Policy::default(), Traces::off());
        let (coordinator, _, _, engine) = Coordinator::start(
            db.clone(),
            data.clone(),
            policy,
            noted,
            Metrics::new(),
            off,
            stop.clone(),
        )
        .await
        .unwrap();
        let (engine, stop) = (tokio::spawn(engine), stop.drop_guard());
        Self { coordinator, engine, db, data, workspace, _stop: stop, folder }
    }

    /// The coordinator is killed where it is, and another one started.
    async fn restarted(self, before: impl FnOnce()) -> Self {
        self.engine.abort();
        assert!(self.engine.await.unwrap_err().is_cancelled());
        before();
        Self::open(self.db, self.data, self.workspace, self.folder).await
    }
}

fn sync(receipts: Vec<Receipt>, wait_ms: u32) -> CheckedSync {
    let capacity = Resources::new(2000, 4096).with_disk(u32::MAX);
    let sync = Sync { capacity, prefetch: 0, wait_ms, ..testing::sync() };
    CheckedSync { sync, receipts: receipts.into_iter().map(testing::signed).collect() }
}

async fn joined(room: &Room) -> NodeId {
    let token = nodes::issue_token(&room.db, room.workspace).await.unwrap();
    nodes::join(&room.db, "peer", &token).await.unwrap().unwrap()
}

#[tokio::test]
async fn sync_without_a_wait_returns_settled_leases() {
    let room = granted().await;
    let (coordinator, node) = (&room.coordinator, joined(&room).await);
    let task = TaskRef { run: RunId::new(Uuid::now_v7()), stage: PROCESS, index: 0 };
    let lease = Lease { task, attempt: 1 };
    let outcome = Outcome::NodeFault { message: String::new() };
    let receipt = Receipt { lease, usage: Usage::default(), outcome };

    let orders = coordinator.sync(node, sync(vec![receipt], 0)).await.unwrap();

    let Orders::Work { settled, .. } = orders else { panic!("{orders:?}") };
    assert_eq!(settled, [lease]);
}

#[tokio::test]
async fn sync_without_news_is_answered_when_the_wait_is_over() {
    let room = granted().await;
    let node = joined(&room).await;
    for wait_ms in [0, 100] {
        let answer = room.coordinator.sync(node, sync(vec![], wait_ms));

        let orders = timeout(SOON, answer).await.unwrap().unwrap();

        let Orders::Work { assign, cancel, settled, .. } = orders else { panic!("{orders:?}") };
        assert!(assign.is_empty() && cancel.is_empty() && settled.is_empty());
    }
}

#[tokio::test]
async fn node_that_is_removed_hears_of_it_at_once() {
    let room = granted().await;
    let (coordinator, node) = (&room.coordinator, joined(&room).await);
    coordinator.sync(node, sync(vec![], 0)).await.unwrap();
    let mut held = Box::pin(coordinator.sync(node, sync(vec![], 600_000)));
    assert!(held.as_mut().now_or_never().is_none());

    assert!(coordinator.remove_node(room.workspace, node).await.unwrap());

    // Far sooner than an idle node is answered otherwise.
    timeout(SOON / 4, held).await.unwrap().unwrap();
    let again = coordinator.sync(node, sync(vec![], 600_000)).await;
    assert!(matches!(again, Err(Error::NoNode)), "{again:?}");
}

#[tokio::test]
async fn batch_is_noted_before_it_is_acknowledged() {
    let room = granted().await;
    for n in 0..20 {
        let amount = Credits::from_units(1).unwrap();
        room.coordinator.grant(room.workspace, amount, &n.to_string()).await.unwrap();

        // What a start compares: this database has its end.
        let committed = store::market::batch_number::last(&room.db).await.unwrap();
        assert_eq!(last_batch::noted(room.folder.path()), Some(committed));
    }
}

#[tokio::test]
async fn commit_with_a_lost_answer_is_recognised() {
    let room = granted().await;
    // What is there when a batch was stored and nobody said so.
    count_batch(&room.db).await;
    let amount = Credits::from_units(1).unwrap();

    for key in ["stored, and the answer lost", "next"] {
        timeout(SOON, room.coordinator.grant(room.workspace, amount, key)).await.unwrap().unwrap();
    }
}
