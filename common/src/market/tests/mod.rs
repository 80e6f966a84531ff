//! What scenarios of a few lines are built from.

mod money;
mod nodes;
mod runs;

use std::sync::Arc;

use chrono::TimeDelta;
use uuid::Uuid;

use super::*;
use crate::compute::resources::{Resources, Usage};
use crate::data::chunk_table::ChunkTable;
use crate::money::ledger::Transfer;
use crate::money::price::price;
use crate::money::shard::Shard;
use crate::plan::{Assemble, Limits, Partition, Phase, Pipeline};
use crate::protocol::{Failure, Held, Orders, Outcome, Sync};
use crate::run::RunState;
use crate::run::spec::RunSpec;
use crate::run::task::{Lease, StageNo};
use crate::testing::{self, PROCESS, at, container, do_steps, pipeline, start_cut};

const RUN: RunId = RunId::new(Uuid::from_u128(1));
const CUSTOMER: WorkspaceId = WorkspaceId::new(Uuid::from_u128(2));
const OPERATOR: WorkspaceId = WorkspaceId::new(Uuid::from_u128(3));

fn node(n: u128) -> NodeId {
    NodeId::new(Uuid::from_u128(100 + n))
}

fn lease(index: u32, attempt: u32) -> Lease {
    testing::process(RUN, index, attempt)
}

fn spec(limits: Limits) -> RunSpec {
    testing::order(CUSTOMER, &Pipeline { limits, ..pipeline() })
}

/// An order with a partitioner and an assembler of the customer's own.
fn custom_engines() -> RunSpec {
    let partition = Partition::Custom(Box::new(container()));
    let assemble = Assemble::Custom(Box::new(container()));
    testing::order(CUSTOMER, &Pipeline { partition, assemble, ..pipeline() })
}

fn credits(text: &str) -> Credits {
    text.parse().unwrap()
}

/// What a task costs that keeps its vCPU and GiB for this long.
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
fn processing(count: u32, limits: Limits) -> Market {
    let mut market = funded("1000");
    start_cut(&mut market, RUN, spec(limits), count, at(0));
    market
}

/// A node's message: what it holds (and runs, for this many seconds).
fn holds(held: &[(Lease, u64)]) -> CheckedSync {
    let holding = held
        .iter()
        .map(|(lease, secs)| Held {
            lease: *lease,
            running_ms: Some(secs * 1000),
            waits_for_bucket: false,
            progress: None,
        })
        .collect();
    CheckedSync { sync: Sync { holding, ..testing::sync() }, receipts: Vec::new() }
}

fn ends(lease: Lease, outcome: Outcome, usage: Usage) -> CheckedSync {
    CheckedSync { receipts: vec![testing::receipt(lease, outcome, usage)], ..holds(&[]) }
}

fn succeeds(lease: Lease) -> CheckedSync {
    let usage = Usage::full(container().needs, 1000);
    ends(lease, Outcome::Succeeded { outputs: Vec::new(), value: None }, usage)
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

/// The process tasks of the run.
fn tasks(market: &Market) -> &Tasks {
    market.run(RUN).unwrap().stage(PROCESS).unwrap().tasks().unwrap()
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
    let number = |transfer: &Transfer| (transfer.shard(), transfer.number + 1);
    let numbers = changes.transfers.iter().map(number).collect();
    let load = |record: &RunRecord| {
        let id = record.id;
        let tables = changes.tables.iter().filter(|(run, ..)| *run == id);
        let run = tables.fold(Run::load(record.clone()), |run, (_, block, table)| {
            run.with_table(*block, ChunkTable::clone(table))
        });
        let stages = changes.stages.iter().filter(|stage| stage.run == id);
        let open = stages.filter(|stage| stage.ended.is_none());
        let run = open.fold(run, Run::with_stage);
        let resolved = changes.resolutions.iter().filter(|(run, ..)| *run == id);
        let run =
            resolved.fold(run, |run, (_, no, of)| run.with_resolution(*no, Resolution::clone(of)));
        let values = changes.values.iter().filter(|value| value.run == id);
        values.cloned().fold(run, Run::with_value)
    };
    let (stopping, going): (Vec<_>, Vec<_>) = changes
        .runs
        .iter()
        .filter(|run| !run.state.is_final())
        .partition(|run| run.state == RunState::Ending);
    Stored {
        runs: going.into_iter().map(load).collect(),
        stopping: stopping.into_iter().cloned().collect(),
        operators: changes.tasks.iter().filter_map(|t| t.node).map(|n| (n, OPERATOR)).collect(),
        tasks: changes.tasks,
        statements: changes.lines.iter().map(|line| (line.owner, Head::at(line))).collect(),
        ledger: Ledger::load(changes.balances, numbers),
        ..Stored::default()
    }
}
