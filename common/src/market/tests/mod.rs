//! What scenarios of a few lines are built from.

mod again;
mod bills;
mod blame;
mod checks;
mod disk;
mod gpus;
mod health;
mod holds;
mod lives;
mod movements;
mod nodes_of;
mod order;
mod placement;
mod set_aside;
mod silence;
mod statements;
mod terms;
mod trust;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::*;
use crate::chunks::ChunkTable;
use crate::device::Device;
use crate::digest::Digest;
use crate::ids::{JobId, PackageId};
use crate::objects::{Object, Objects, Place};
use crate::price::price;
use crate::protocol::{
    Failure, Held, Level, LogBatch, LogLine, Orders, Outcome, Receipt, SignedReceipt, Sync,
};
use crate::resources::{Resources, Usage};
use crate::run::RunState;
use crate::spec::{
    Assemble, Assembler, Container, Destination, Image, Limits, PackagePin, Partition, Partitioner,
    RunSpec, Source,
};
use crate::task::Stage;
use crate::terms::Terms;

const RUN: RunId = RunId::new(Uuid::from_u128(1));
const CUSTOMER: WorkspaceId = WorkspaceId::new(Uuid::from_u128(2));
const OPERATOR: WorkspaceId = WorkspaceId::new(Uuid::from_u128(3));

fn at(secs: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(secs)
}

fn node(n: u128) -> NodeId {
    NodeId::new(Uuid::from_u128(100 + n))
}

fn lease(index: u32, attempt: u32) -> Lease {
    Lease { task: TaskRef { run: RUN, stage: Stage::Process, index }, attempt }
}

fn container() -> Container {
    Container {
        package: PackagePin {
            id: PackageId::new(Uuid::nil()),
            owner: WorkspaceId::new(Uuid::from_u128(1)),
            name: "app".to_owned(),
            version: "0.1".to_owned(),
            revision: 1,
            digest: Digest::of(b""),
        },
        image: Image::Binary,
        entrypoint: "main".to_owned(),
        secrets: Vec::new(),
        needs: Resources::new(1000, 1024),
        gpus: Vec::new(),
        params: crate::spec::Params::new(),
    }
}

pub fn spec(limits: Limits) -> RunSpec {
    RunSpec {
        job: JobId::new(Uuid::nil()),
        workspace: CUSTOMER,
        name: "job".to_owned(),
        template: "template".to_owned(),
        source: Source::Bypass,
        destination: Destination::Bypass,
        partition: Partition::Builtin(Partitioner::Passthrough),
        process: container(),
        assemble: Assemble::Builtin(Assembler::Passthrough),
        limits,
        terms: Terms::default(),
    }
}

fn table(chunks: u32) -> ChunkTable {
    let object = Object { name: "empty".to_owned(), size: 0, place: Place::Empty, version: None };
    ChunkTable::copies(Objects::pack(&[object]).unwrap(), chunks).unwrap()
}

fn credits(text: &str) -> Credits {
    text.parse().unwrap()
}

/// What a task costs that keeps its vCPU and GiB for so long.
fn cost(secs: u64) -> Credits {
    price(Usage::full(container().needs, secs * 1000))
}

fn funded(amount: &str) -> Market {
    let mut market = Market::load(Policy::default(), Stored::default(), at(0));
    market.trust(OPERATOR);
    market.grant(CUSTOMER, credits(amount), "gift", at(0)).unwrap();
    market
}

/// A market with one run in its process stage.
fn processing(chunks: u32, limits: Limits) -> Market {
    let mut market = funded("1000");
    market.start_run(RUN, Arc::new(spec(limits)), at(0)).unwrap();
    market.looked(RUN, None, at(0));
    market.partitioned(RUN, table(chunks), at(0));
    market
}

/// A node's message: what it holds (and runs, for so many seconds).
fn holds(held: &[(Lease, u64)]) -> CheckedSync {
    let sync = Sync {
        incarnation: 1,
        token: None,
        capacity: Resources::new(2000, 4096),
        prefetch: 1,
        device: Device::default(),
        holding: held
            .iter()
            .map(|(lease, secs)| Held {
                lease: *lease,
                running_ms: Some(secs * 1000),
                waits_for_bucket: false,
            })
            .collect(),
        receipts: Vec::new(),
        logs: Vec::new(),
        probe: None,
        wait_ms: 0,
    };
    CheckedSync { sync, receipts: Vec::new() }
}

fn ends(lease: Lease, outcome: Outcome, usage: Usage) -> CheckedSync {
    let signed = SignedReceipt { receipt: Vec::new(), signature: Vec::new() };
    let receipts = vec![(Receipt { lease, usage, outcome }, signed)];
    CheckedSync { receipts, ..holds(&[]) }
}

fn succeeds(lease: Lease) -> CheckedSync {
    let usage = Usage::full(container().needs, 1000);
    ends(lease, Outcome::Succeeded { outputs: Vec::new() }, usage)
}

fn fails(lease: Lease) -> CheckedSync {
    let outcome = Outcome::Failed { failure: Failure::ExitCode(1), message: String::new() };
    ends(lease, outcome, Usage::default())
}

fn faults(lease: Lease) -> CheckedSync {
    ends(lease, Outcome::NodeFault { message: "no disk".to_owned() }, Usage::default())
}

/// Hears a node, hands out, and checks.
fn hear(market: &mut Market, n: u128, heard: CheckedSync, secs: i64) {
    market.sync(node(n), OPERATOR, heard, at(secs));
    market.dispatch(at(secs));
    assert_eq!(market.check(), Ok(()));
}

fn leased(market: &Market, n: u128) -> Vec<Lease> {
    market.nodes[&node(n)].leased.iter().copied().collect()
}

/// What keeps nodes from the run's next task.
fn obstacles(market: &Market, secs: i64) -> Obstacles {
    match market.waiting(RUN, at(secs)) {
        Some(Waiting::Node(obstacles)) => obstacles,
        other => panic!("{other:?}"),
    }
}

/// What a restart of the server would find.
fn stored(changes: Changes) -> Stored {
    let balances: BTreeMap<Account, i64> = changes.balances.into_iter().collect();
    let tables = changes.tables;
    let load = |record: RunRecord| {
        let id = record.id;
        tables.iter().filter(|(run, ..)| *run == id).fold(Run::load(record), |run, table| {
            match table.1 {
                TableKind::Source => run.with_source(ChunkTable::clone(&table.2)),
                TableKind::Chunks => run.with_chunks(ChunkTable::clone(&table.2)),
            }
        })
    };
    Stored {
        runs: changes.runs.into_iter().filter(|run| !run.state.is_final()).map(load).collect(),
        operators: changes.tasks.iter().filter_map(|t| t.node).map(|n| (n, OPERATOR)).collect(),
        tasks: changes.tasks,
        ledger: Ledger::load(balances, changes.transfers.len() as u64),
        ..Stored::default()
    }
}
