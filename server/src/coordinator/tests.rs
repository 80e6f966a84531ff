//! The promises of the loop itself: what an answer means, and what no caller can break.

use std::time::Duration;

use common::digest::Digest;
use common::ids::{JobId, PackageId};
use common::protocol::{LogBatch, Outcome, Receipt, SignedReceipt, Sync};
use common::resources::{Resources, Usage};
use common::spec::{
    Assemble, Assembler, Container, Destination, Image, Limits, PackagePin, Params, Partition,
    Partitioner, Source,
};
use common::task::{Lease, Stage, TaskRef};
use tokio::time::timeout;
use uuid::Uuid;

use super::*;
use crate::api::testing::Door;

const SOON: Duration = Duration::from_secs(20);

fn spec(workspace: WorkspaceId) -> RunSpec {
    RunSpec {
        job: JobId::new(Uuid::now_v7()),
        workspace,
        name: "job".to_owned(),
        template: "t".to_owned(),
        source: Source::Bypass,
        destination: Destination::Bypass,
        partition: Partition::Builtin(Partitioner::Passthrough),
        process: Container {
            package: PackagePin {
                id: PackageId::new(Uuid::now_v7()),
                name: "app".to_owned(),
                version: "0.1".to_owned(),
                revision: 1,
                digest: Digest::of(b"app"),
            },
            image: Image::Binary,
            entrypoint: "main".to_owned(),
            needs: Resources::new(1000, 1024),
            params: Params::new(),
        },
        assemble: Assemble::Builtin(Assembler::Passthrough),
        limits: Limits::default(),
    }
}

async fn granted() -> Door {
    let door = Door::open().await;
    let amount = Credits::from_units(100_000_000_000).unwrap();
    door.app.coordinator.grant(door.workspace, amount, "first").await.unwrap();
    door
}

fn sync(receipts: Vec<Receipt>, logs: Vec<LogBatch>, wait_ms: u32) -> CheckedSync {
    let sync = Sync {
        incarnation: 1,
        token: None,
        capacity: Resources::new(2000, 4096),
        prefetch: 0,
        holding: vec![],
        receipts: vec![],
        logs,
        wait_ms,
    };
    let sign = |receipt: Receipt| {
        let bytes = postcard::to_stdvec(&receipt).unwrap();
        (receipt, SignedReceipt { receipt: bytes, signature: vec![7; 64] })
    };
    CheckedSync { sync, receipts: receipts.into_iter().map(sign).collect() }
}

async fn joined(door: &Door) -> NodeId {
    let token = nodes::issue_token(&door.app.db, door.workspace).await.unwrap();
    nodes::join(&door.app.db, "peer", &token).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_run_that_has_ended_cannot_be_started_again() {
    let door = granted().await;
    let (coordinator, run) = (&door.app.coordinator, RunId::new(Uuid::now_v7()));
    coordinator.start_run(run, spec(door.workspace)).await.unwrap();
    coordinator.abort_run(run, "enough".to_owned()).await.unwrap();

    let again = coordinator.start_run(run, spec(door.workspace)).await;

    assert!(matches!(again, Err(Error::AlreadyStarted)), "{again:?}");
    // The coordinator lives: a commit that can never succeed would have been its end.
    coordinator.start_run(RunId::new(Uuid::now_v7()), spec(door.workspace)).await.unwrap();
}

#[tokio::test]
async fn a_node_in_a_hurry_is_told_what_is_settled() {
    let door = granted().await;
    let (coordinator, node) = (&door.app.coordinator, joined(&door).await);
    let task = TaskRef { run: RunId::new(Uuid::now_v7()), stage: Stage::Process, index: 0 };
    let lease = Lease { task, attempt: 1 };
    let outcome = Outcome::NodeFault { message: String::new() };
    let receipt = Receipt { lease, usage: Usage::default(), outcome };

    let orders = coordinator.sync(node, sync(vec![receipt], vec![], 0)).await.unwrap();

    let Orders::Work { settled, .. } = orders else { panic!("{orders:?}") };
    assert_eq!(settled, [lease]);
}

#[tokio::test]
async fn an_answer_with_nothing_in_it_comes_when_the_wait_is_over() {
    let door = granted().await;
    let node = joined(&door).await;
    for wait_ms in [0, 100] {
        let answer = door.app.coordinator.sync(node, sync(vec![], vec![], wait_ms));

        let orders = timeout(SOON, answer).await.unwrap().unwrap();

        let Orders::Work { assign, cancel, settled, .. } = orders else { panic!("{orders:?}") };
        assert!(assign.is_empty() && cancel.is_empty() && settled.is_empty());
    }
}
