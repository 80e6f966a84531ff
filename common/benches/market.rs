//! How fast the market is without IO: leases and receipts of a run of 1,000,000 chunks on 1,000
//! nodes, and the memory that such a run takes when it is accepted.
//!
//! `cargo bench -p common --bench market`; `BENCH_CHUNKS=100000` makes it shorter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use common::chunks::ChunkTable;
use common::credits::Credits;
use common::device::Device;
use common::digest::Digest;
use common::ids::{JobId, NodeId, PackageId, RunId, WorkspaceId};
use common::market::{CheckedSync, Market, Policy, Stored};
use common::objects::{Object, Objects, Place};
use common::protocol::{Orders, Outcome, Receipt, SignedReceipt, Sync};
use common::resources::{Resources, Usage};
use common::run::RunState;
use common::spec::{
    Assemble, Assembler, Container, Destination, Image, Limits, PackagePin, Partition, Partitioner,
    RunSpec, Source,
};
use common::task::Lease;
use common::terms::Terms;
use uuid::Uuid;

const NODES: u32 = 1_000;
/// Messages that one transaction takes in.
const BATCH: usize = 50;
const CUSTOMER: WorkspaceId = WorkspaceId::new(Uuid::from_u128(1));
const OPERATOR: WorkspaceId = WorkspaceId::new(Uuid::from_u128(2));
const RUN: RunId = RunId::new(Uuid::from_u128(3));

#[expect(clippy::print_stdout, reason = "a table for people is what a benchmark makes")]
fn main() {
    let chunks =
        std::env::var("BENCH_CHUNKS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);

    let before = resident_kib();
    let started = Instant::now();
    let mut market = accept(chunks);
    let accepted = started.elapsed();
    let grown = resident_kib().saturating_sub(before);
    let work = work(&mut market);

    let per_task = work.took.as_nanos() / u128::from(chunks.max(1));
    let per_second = u128::from(work.events) * 1_000_000_000 / work.took.as_nanos().max(1);
    println!("{chunks} chunks, {NODES} nodes, {BATCH} messages in a transaction");
    println!("{:<36}{:>14}", "accept, microseconds", accepted.as_micros());
    println!("{:<36}{:>14}", "memory grown by it, KiB", grown);
    println!("{:<36}{:>14}", "lease and receipt, ns per task", per_task);
    println!("{:<36}{:>14}", "events (leases, receipts, syncs)/s", per_second);
    println!("{:<36}{:>14}", "resident at the end, KiB", resident_kib());
}

struct Work {
    took: Duration,
    events: u64,
}

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::milliseconds(ms)
}

fn accept(chunks: u32) -> Market {
    let mut market = Market::load(Policy::default(), Stored::default(), at(0));
    let grant = Credits::from_units(i64::MAX / 2).expect("not negative");
    market.trust(OPERATOR);
    market.grant(CUSTOMER, grant, "gift", at(0)).expect("the world may owe");
    market.start_run(RUN, Arc::new(spec()), at(0)).expect("the wallet is full");
    market.looked(RUN, None, at(0));
    let object = Object { name: "empty".to_owned(), size: 0, place: Place::Empty, version: None };
    let table = ChunkTable::copies(Objects::pack(&[object]).expect("one object"), chunks)
        .expect("within u32");
    market.partitioned(RUN, table, at(0));
    market.drain();
    market
}

/// Every node takes what it is given and sends all receipts with its next message.
fn work(market: &mut Market) -> Work {
    let started = Instant::now();
    let mut held: Vec<Vec<Lease>> = vec![Vec::new(); NODES as usize];
    let (mut events, mut ms) = (0, 0);
    while market.run(RUN).map(common::market::Run::state) == Some(RunState::Processing) {
        for (first, batch) in held.chunks_mut(BATCH).enumerate() {
            ms += 1;
            let node = |n: usize| NodeId::new(Uuid::from_u128(0x100 + (first * BATCH + n) as u128));
            let mut settled = Vec::new();
            for (n, held) in batch.iter_mut().enumerate() {
                let leases = std::mem::take(held);
                events += 1 + leases.len() as u64;
                market.sync(node(n), OPERATOR, report(&leases), at(ms));
                settled.push(leases);
            }
            market.dispatch(at(ms));
            drop(market.drain());
            for (n, settled) in settled.into_iter().enumerate() {
                if let Some(Orders::Work { assign, .. }) = market.orders(node(n), settled) {
                    events += assign.len() as u64;
                    batch[n] = assign.into_iter().map(|assignment| assignment.lease).collect();
                }
            }
        }
    }
    Work { took: started.elapsed(), events }
}

fn report(leases: &[Lease]) -> CheckedSync {
    let receipt = |lease: &Lease| Receipt {
        lease: *lease,
        usage: Usage { cpu_ms: 1, memory_mib_ms: 1, wall_ms: 1, ..Usage::default() },
        outcome: Outcome::Succeeded { outputs: Vec::new() },
    };
    let signed = || SignedReceipt { receipt: vec![0; 64], signature: vec![0; 64] };
    CheckedSync {
        sync: Sync {
            incarnation: 1,
            token: None,
            capacity: Resources::new(8_000, 16_384),
            prefetch: 8,
            device: Device::default(),
            holding: Vec::new(),
            receipts: Vec::new(),
            logs: Vec::new(),
            probe: None,
            wait_ms: 0,
        },
        receipts: leases.iter().map(|lease| (receipt(lease), signed())).collect(),
    }
}

fn spec() -> RunSpec {
    RunSpec {
        job: JobId::new(Uuid::nil()),
        workspace: CUSTOMER,
        name: "bench".to_owned(),
        template: "bench".to_owned(),
        source: Source::Bypass,
        destination: Destination::Bypass,
        partition: Partition::Builtin(Partitioner::Passthrough),
        process: Container {
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
            needs: Resources::new(1_000, 1_024),
            gpus: Vec::new(),
            params: common::spec::Params::new(),
        },
        assemble: Assemble::Builtin(Assembler::Passthrough),
        limits: Limits::default(),
        terms: Terms::default(),
    }
}

/// The process's resident memory; 0 where the system does not tell.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
