//! How fast the market is without IO: leases and receipts of a run of 1,000,000 chunks on 1,000
//! nodes, the memory that such a run takes when it is accepted, what many small runs cost while
//! they wait and when they run, and what a million schedules cost until they are due.
//!
//! `cargo bench -p common --bench market`; `BENCH_CHUNKS=100000` makes it shorter, `BENCH_RUNS`
//! is the number of small runs, `BENCH_SCHEDULES` that of schedules. A part alone:
//! `cargo bench -p common --bench market -- chunks|runs|queues|schedules`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use common::compute::resources::{Resources, Usage};
use common::ids::{JobId, NodeId, QueueId, RunId, WorkspaceId};
use common::market::{CheckedSync, Market, Planned, Policy, Stored};
use common::money::credits::Credits;
use common::plan::{Block, BlockId, Body, Container, ContainerTask, Group, Phase, Plan, Reads};
use common::protocol::{Contents, Orders, Outcome, Receipt, SignedReceipt, Sync};
use common::run::queue::{InQueue, QueueRules, Rank};
use common::run::scheduling::TaskPriority;
use common::run::task::Lease;
use common::schedule::cron::Cron;
use common::schedule::{Rules, Schedule, When};
use common::testing;
use uuid::Uuid;

const NODES: u32 = 1_000;
/// Messages that one transaction takes in.
const BATCH: usize = 50;
const CUSTOMER: WorkspaceId = WorkspaceId::new(Uuid::from_u128(1));
const OPERATOR: WorkspaceId = WorkspaceId::new(Uuid::from_u128(2));
const RUN: RunId = RunId::new(Uuid::from_u128(3));

fn main() {
    let parts: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let is_asked = |part: &str| parts.is_empty() || parts.iter().any(|name| name == part);
    let number = |name: &str, usual| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
    };
    if is_asked("chunks") {
        chunks(number("BENCH_CHUNKS", 1_000_000));
    }
    let runs = number("BENCH_RUNS", 100_000);
    if is_asked("runs") {
        small_runs(runs, 1);
        small_runs(runs, 3);
    }
    if is_asked("queues") {
        // How the cost of a lease grows with what waits.
        queued_runs(runs.div_ceil(20));
        queued_runs(runs);
    }
    if is_asked("schedules") {
        schedules(number("BENCH_SCHEDULES", 1_000_000));
    }
}

/// A run of this many chunks.
#[expect(clippy::print_stdout, reason = "a table for people is what a benchmark makes")]
fn chunks(chunks: u32) {
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

/// This many schedules, which are due a day later, and then all at once.
#[expect(clippy::print_stdout, reason = "a table for people is what a benchmark makes")]
fn schedules(n: u32) {
    let day = 24 * 3600 * 1000;
    let job = |n: u32| JobId::new(Uuid::from_u128(0x1_0000 + u128::from(n)));
    let planned = (0..n).map(|n| {
        let due = at(day + i64::from(n));
        Planned { job: job(n), revision: 1, at: due, due }
    });
    let schedules: Vec<Planned> = planned.collect();
    let before = resident_kib();
    let started = Instant::now();
    let stored = Stored { schedules, ..Stored::default() };
    let mut market = Market::load(Policy::default(), stored, at(0));
    let load = started.elapsed();
    let grown = resident_kib().saturating_sub(before);

    let started = Instant::now();
    for n in 1..=1_000 {
        market.tick(at(n));
        market.fire_due(usize::MAX, at(n));
    }
    let tick = started.elapsed() / 1_000;
    drop(market.drain());

    let when = When::Cron(Box::new(Cron::parse("0 0 * * *", "Europe/Berlin").expect("a pattern")));
    let author = testing::author(CUSTOMER);
    let started = Instant::now();
    market.fire_due(usize::MAX, at(day + i64::from(n)));
    let fires = market.drain().fires;
    let due = started.elapsed() / n.max(1);
    let order = Err("the job is gone".to_owned());
    let started = Instant::now();
    for (n, fire) in fires.iter().enumerate() {
        let rules = Rules::new(when.clone());
        let schedule =
            Schedule { next: Some(fire.at), ..Schedule::set(fire.job, author, rules, None, at(0)) };
        market.fired(schedule, &order, at(day * 2));
        if n % 50 == 0 {
            drop(market.drain());
        }
    }
    let settle = started.elapsed() / n.max(1);
    println!("\n{n} schedules");
    println!("{:<36}{:>14}", "load, milliseconds", load.as_millis());
    println!(
        "{:<36}{:>14}",
        "memory grown, bytes per schedule",
        grown * 1024 / u64::from(n.max(1))
    );
    println!("{:<36}{:>14}", "tick while none is due, ns", tick.as_nanos());
    println!("{:<36}{:>14}", "due at once, ns per schedule", due.as_nanos());
    println!("{:<36}{:>14}", "settled, ns per schedule", settle.as_nanos());
}

/// Runs of this many tasks, one after the other, that all wait at once.
#[expect(clippy::print_stdout, reason = "a table for people is what a benchmark makes")]
fn small_runs(runs: u32, tasks: u16) {
    let mut market = Market::load(Policy::default(), Stored::default(), at(0));
    let grant = Credits::from_units(i64::MAX / 512).expect("not negative");
    market.trust(OPERATOR);
    market.grant(CUSTOMER, grant, "gift", at(0)).expect("the world may owe");
    let plan = sequence(tasks);
    let nodes = 0..NODES as usize;
    let node = |n: usize| NodeId::new(Uuid::from_u128(0x100 + n as u128));
    // All nodes are there and full before the others come.
    nodes.clone().for_each(|n| market.sync(node(n), OPERATOR, report(&[]), at(0)));

    let before = resident_kib();
    let started = Instant::now();
    for n in 0..runs {
        let spec = testing::order_plan(CUSTOMER, plan.clone());
        let run = RunId::new(Uuid::from_u128(0x1_0000 + u128::from(n)));
        market.start_run(run, Arc::new(spec), at(0)).expect("the wallet is full");
        if n % 50 == 0 {
            market.dispatch(at(0));
            drop(market.drain());
        }
    }
    let start = started.elapsed() / runs.max(1);
    let grown = resident_kib().saturating_sub(before);
    let started = Instant::now();
    for n in 1..=100 {
        market.tick(at(n));
    }
    let tick = started.elapsed() / 100;

    let (took, _, leases) = work_off(&mut market);
    println!("\n{runs} runs of {tasks} tasks, {NODES} nodes");
    println!("{:<36}{:>14}", "start, ns per run", start.as_nanos());
    println!("{:<36}{:>14}", "memory grown, bytes per run", grown * 1024 / u64::from(runs.max(1)));
    println!("{:<36}{:>14}", "tick with all nodes full, us", tick.as_micros());
    println!("{:<36}{:>14}", "lease and receipt, ns per task", took / u128::from(leases.max(1)));
    println!("{:<36}{:>14}", "run, ns per run", took / u128::from(runs.max(1)));
}

/// Lets the nodes work until no run is left: nanoseconds, those of them in which tasks were handed
/// out, and leases.
fn work_off(market: &mut Market) -> (u128, u128, u64) {
    let node = |n: usize| NodeId::new(Uuid::from_u128(0x100 + n as u128));
    let started = Instant::now();
    let mut held: Vec<Vec<Lease>> = vec![Vec::new(); NODES as usize];
    let (mut ms, mut leases, mut dispatch) = (1_000, 0_u64, Duration::ZERO);
    while market.runs().next().is_some() {
        ms += 1;
        for (n, held) in held.iter_mut().enumerate() {
            let ended = std::mem::take(held);
            market.sync(node(n), OPERATOR, report(&ended), at(ms));
            let asked = Instant::now();
            market.dispatch(at(ms));
            dispatch += asked.elapsed();
            if let Some(Orders::Work { assign, .. }) = market.orders(node(n), ended) {
                leases += assign.len() as u64;
                *held = assign.into_iter().map(|assignment| assignment.lease).collect();
            }
        }
        drop(market.drain());
    }
    (started.elapsed().as_nanos(), dispatch.as_nanos(), leases)
}

/// Runs of one task in ten classes and five named queues of all ranks, half of which have a limit.
#[expect(clippy::print_stdout, reason = "a table for people is what a benchmark makes")]
fn queued_runs(runs: u32) {
    let mut market = Market::load(Policy::default(), Stored::default(), at(0));
    let grant = Credits::from_units(i64::MAX / 512).expect("not negative");
    market.trust(OPERATOR);
    market.grant(CUSTOMER, grant, "gift", at(0)).expect("the world may owe");
    let queue = |n: u32| QueueId::new(Uuid::from_u128(0x10 + u128::from(n)));
    for n in 0..5_u16 {
        let rank = Rank::new(n + 1).expect("a rank");
        let max_running = if n % 2 == 0 { 0 } else { NODES };
        let rules = QueueRules {
            workspace: CUSTOMER,
            rank,
            max_running,
            is_enabled: true,
            is_paused: false,
        };
        market.put_queue(queue(n.into()), rules);
    }
    let plans: Vec<Plan> = (0..10)
        .map(|n| {
            let needs = Resources::new(500 + n * 50, 512);
            testing::task_plan(Container { needs, ..testing::container() })
        })
        .collect();
    for n in 0..runs {
        let mut spec = testing::order_plan(CUSTOMER, plans[n as usize % plans.len()].clone());
        let id = queue(n / 7 % 5);
        spec.terms.queue = Some(InQueue { id, timeout_secs: Some(86_400), pools: Vec::new() });
        let run = RunId::new(Uuid::from_u128(0x1_0000 + u128::from(n)));
        market.start_run(run, Arc::new(spec), at(0)).expect("the wallet is full");
        if n % 50 == 0 {
            drop(market.drain());
        }
    }
    let (took, dispatch, leases) = work_off(&mut market);
    println!("\n{runs} runs in 10 classes and 5 named queues, {NODES} nodes");
    println!("{:<36}{:>14}", "dispatch, ns per lease", dispatch / u128::from(leases.max(1)));
    println!("{:<36}{:>14}", "lease and receipt, ns per task", took / u128::from(leases.max(1)));
}

/// Tasks one after the other.
fn sequence(tasks: u16) -> Plan {
    let task = ContainerTask {
        container: testing::container(),
        reads: Reads::Nothing,
        queue: None,
        timeout_secs: 60,
        retries: 0,
        waits: None,
        require_results: false,
        deterministic: false,
        priority: TaskPriority::default(),
        is_reserved: false,
    };
    let block = |body| Block::new("block", body);
    let of: Vec<BlockId> = (1..=tasks).map(BlockId::new).collect();
    let mut blocks = vec![block(Body::Group(Group::sequence(of)))];
    blocks.extend((0..tasks).map(|_| block(Body::Container(Box::new(task.clone())))));
    Plan::new(blocks).expect("a sequence is a plan")
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
    let grant = Credits::from_units(i64::MAX / 512).expect("not negative");
    market.trust(OPERATOR);
    market.grant(CUSTOMER, grant, "gift", at(0)).expect("the world may owe");
    let spec = testing::order(CUSTOMER, &testing::pipeline());
    testing::start_cut(&mut market, RUN, spec, chunks, at(0));
    market.drain();
    market
}

/// Every node takes what it is given and sends all receipts with its next message.
fn work(market: &mut Market) -> Work {
    let started = Instant::now();
    let mut held: Vec<Vec<Lease>> = vec![Vec::new(); NODES as usize];
    let (mut events, mut ms) = (0, 0);
    while market.run(RUN).is_some_and(|run| run.phase() == Some(Phase::Process)) {
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
        outcome: Outcome::Succeeded { outputs: Vec::new(), value: None },
    };
    let signed = || SignedReceipt {
        receipt: vec![0; 64],
        signature: vec![0; 64],
        contents: Contents::default(),
    };
    CheckedSync {
        sync: Sync { capacity: Resources::new(8_000, 16_384), prefetch: 8, ..testing::sync() },
        receipts: leases.iter().map(|lease| (receipt(lease), signed())).collect(),
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
