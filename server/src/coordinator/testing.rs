//! A node that earns, for tests of what becomes of its earnings.

use std::collections::BTreeMap;

use common::compute::resources::{Resources, Usage};
use common::ids::{NodeId, RunId, WorkspaceId};
use common::money::credits::Credits;
use common::package::config::JobConfig;
use common::protocol::{Held, Orders, Outcome, Output, Receipt, Sync};
use common::run::spec::RunSpec;
use common::run::task::Lease;
use common::testing;
use uuid::Uuid;

use super::{CheckedSync, Coordinator, Error};
use crate::clock;
use crate::store::jobs::StartAs;
use crate::store::testing::draft;
use crate::store::{self, Db, nodes};

/// Starts a job as it is now.
pub async fn start(coordinator: &Coordinator, spec: RunSpec, how: StartAs) -> Result<RunId, Error> {
    let read = coordinator.read_job(spec.workspace, spec.job).await?.unwrap();
    coordinator.start_job(spec, read, how).await
}

/// Runs one task of a customer's on a node of an operator's, and gives what it cost.
pub async fn earn(
    coordinator: &Coordinator,
    db: &Db,
    customer: WorkspaceId,
    operator: WorkspaceId,
) -> Credits {
    let token = nodes::issue_token(db, operator).await.unwrap();
    let node = nodes::join(db, &Uuid::now_v7().to_string(), &token).await.unwrap().unwrap();
    let spec = draft(db, customer).await;
    start(coordinator, spec, StartAs::Only(JobConfig::default())).await.unwrap();
    let lease = loop {
        if let Some(lease) = sync(coordinator, node, None).await {
            break lease;
        }
    };
    // A task costs what its lease's time allows, so some has to pass.
    let begun = clock::now();
    while (clock::now() - begun).num_milliseconds() < 5 {
        tokio::task::yield_now().await;
    }
    let usage = Usage::full(Resources::new(1000, 1024), 1_000_000);
    let receipt =
        Receipt { lease, usage, outcome: Outcome::Succeeded { outputs: vec![], value: None } };
    sync(coordinator, node, Some(receipt)).await;
    let ledger = store::load(db).await.unwrap().ledger;
    let earned = ledger.pending(operator);
    assert!(!earned.is_zero());
    earned
}

/// A large node that does what it is given, in no hurry.
pub struct Worker {
    node: NodeId,
    /// What it has, and whether it has said that it runs.
    held: BTreeMap<Lease, bool>,
    turns: usize,
}

impl Worker {
    pub async fn join(db: &Db, operator: WorkspaceId) -> Self {
        let token = nodes::issue_token(db, operator).await.unwrap();
        let node = nodes::join(db, &Uuid::now_v7().to_string(), &token).await.unwrap().unwrap();
        Self { node, held: BTreeMap::new(), turns: 0 }
    }

    pub fn node(&self) -> NodeId {
        self.node
    }

    /// One of the tasks that it has.
    pub fn first(&self) -> Option<Lease> {
        self.held.keys().next().copied()
    }

    /// Ends a task with these results, which have been stored.
    pub async fn gives(&mut self, coordinator: &Coordinator, lease: Lease, outputs: Vec<Output>) {
        self.held.remove(&lease);
        let usage = Usage::full(Resources::new(1000, 1024), 1_000_000);
        let receipt =
            Receipt { lease, usage, outcome: Outcome::Succeeded { outputs, value: None } };
        sync(coordinator, self.node, Some(receipt)).await;
    }

    /// Ends some of the tasks that it runs, says that the others run, and takes what there is.
    pub async fn turn(&mut self, coordinator: &Coordinator) {
        let usage = Usage::full(Resources::new(1000, 1024), 1_000_000);
        self.turn_with(coordinator, |_| {
            (usage, Outcome::Succeeded { outputs: vec![], value: None })
        })
        .await;
    }

    /// The same, where tasks end so.
    pub async fn turn_with(
        &mut self,
        coordinator: &Coordinator,
        end: impl Fn(Lease) -> (Usage, Outcome),
    ) {
        self.turns += 1;
        let few = self.held.len() < 4;
        let ended: Vec<Lease> = self
            .held
            .iter()
            .filter(|(_, runs)| **runs)
            .enumerate()
            .filter(|(n, _)| few || (n + self.turns).is_multiple_of(3))
            .map(|(_, (lease, _))| *lease)
            .collect();
        self.held.retain(|lease, _| !ended.contains(lease));
        let receipt = |lease: &Lease| {
            let (usage, outcome) = end(*lease);
            testing::receipt(*lease, outcome, usage)
        };
        let receipts = ended.iter().map(receipt).collect();
        let running = |lease: &Lease| Held {
            lease: *lease,
            running_ms: Some(1),
            waits_for_bucket: false,
            progress: None,
        };
        let sync = Sync {
            capacity: Resources::new(1_000_000, 1 << 20).with_disk(u32::MAX),
            engine_away: false,
            holding: self.held.keys().map(running).collect(),
            ..idle()
        };
        self.held.values_mut().for_each(|runs| *runs = true);
        let heard = CheckedSync { sync, receipts };
        let Orders::Work { assign, cancel, .. } = coordinator.sync(self.node, heard).await.unwrap()
        else {
            panic!("the node was refused");
        };
        self.held.retain(|lease, _| !cancel.contains(lease));
        self.held.extend(assign.iter().map(|task| (task.lease, false)));
    }
}

fn idle() -> Sync {
    let capacity = Resources::new(1000, 1024).with_disk(u32::MAX);
    Sync { capacity, prefetch: 0, wait_ms: 5, ..testing::sync() }
}

/// Says one thing to the coordinator, and hears of a task.
async fn sync(coordinator: &Coordinator, node: NodeId, ended: Option<Receipt>) -> Option<Lease> {
    let sync = Sync { wait_ms: 50, ..idle() };
    let heard = CheckedSync { sync, receipts: ended.into_iter().map(testing::signed).collect() };
    match coordinator.sync(node, heard).await.unwrap() {
        Orders::Work { assign, .. } => assign.first().map(|task| task.lease),
        refused @ Orders::Refused(_) => panic!("{refused:?}"),
    }
}
