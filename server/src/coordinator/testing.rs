//! A node that earns, for tests of what becomes of its earnings.

use common::credits::Credits;
use common::ids::{NodeId, RunId, WorkspaceId};
use common::ledger::Account;
use common::protocol::{Held, Orders, Outcome, Receipt, SignedReceipt, Sync};
use common::resources::{Resources, Usage};
use common::task::Lease;
use uuid::Uuid;

use super::{CheckedSync, Coordinator};
use crate::clock;
use crate::store::testing::spec;
use crate::store::{self, Db, nodes};

/// Runs one task of a customer's on a node of an operator's, and gives what it cost.
pub async fn earn(
    coordinator: &Coordinator,
    db: &Db,
    customer: WorkspaceId,
    operator: WorkspaceId,
) -> Credits {
    let token = nodes::issue_token(db, operator).await.unwrap();
    let node = nodes::join(db, &Uuid::now_v7().to_string(), &token).await.unwrap().unwrap();
    let run = RunId::new(Uuid::now_v7());
    coordinator.start_run(run, spec(customer)).await.unwrap();
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
    let receipt = Receipt { lease, usage, outcome: Outcome::Succeeded { outputs: vec![] } };
    sync(coordinator, node, Some(receipt)).await;
    let ledger = store::load(db).await.unwrap().ledger;
    let earned = ledger.balance(Account::Pending(operator));
    assert!(!earned.is_zero());
    earned
}

/// Says one thing to the coordinator, and hears of a task.
async fn sync(coordinator: &Coordinator, node: NodeId, ended: Option<Receipt>) -> Option<Lease> {
    let sync = Sync {
        incarnation: 1,
        token: None,
        capacity: Resources::new(1000, 1024).with_disk(u32::MAX),
        device: common::device::Device::default(),
        prefetch: 0,
        holding: Vec::<Held>::new(),
        receipts: vec![],
        logs: vec![],
        probe: None,
        wait_ms: 50,
    };
    let sign = |receipt: Receipt| {
        let bytes = postcard::to_stdvec(&receipt).unwrap();
        (receipt, SignedReceipt { receipt: bytes, signature: vec![7; 64] })
    };
    let heard = CheckedSync { sync, receipts: ended.into_iter().map(sign).collect() };
    match coordinator.sync(node, heard).await.unwrap() {
        Orders::Work { assign, .. } => assign.first().map(|task| task.lease),
        refused @ Orders::Refused(_) => panic!("{refused:?}"),
    }
}
