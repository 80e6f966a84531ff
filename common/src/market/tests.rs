//! The market's rules in scenarios of a few lines.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::*;
use crate::chunks::{ChunkTable, Object, Place};
use crate::digest::Digest;
use crate::ids::{JobId, PackageId};
use crate::price::price;
use crate::protocol::{
    Failure, Held, LogBatch, LogLine, Orders, Outcome, Receipt, SignedReceipt, Sync,
};
use crate::resources::{Resources, Usage};
use crate::run::RunState;
use crate::spec::{
    Assemble, Assembler, Container, Destination, Image, Limits, PackagePin, Partition, Partitioner,
    RunSpec, Source,
};
use crate::task::Stage;

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
            name: "app".to_owned(),
            version: "0.1".to_owned(),
            revision: 1,
            digest: Digest::of(b""),
        },
        image: Image::Binary,
        entrypoint: "main".to_owned(),
        needs: Resources::new(1000, 1024),
        params: serde_json::Map::new(),
    }
}

fn spec(limits: Limits) -> RunSpec {
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
    }
}

fn table(chunks: u32) -> ChunkTable {
    let object = Object { name: "empty".to_owned(), size: 0, place: Place::Empty };
    ChunkTable::copies(vec![object], chunks).unwrap()
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
    market.grant(CUSTOMER, credits(amount), "gift", at(0));
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
        holding: held
            .iter()
            .map(|(lease, secs)| Held { lease: *lease, running_ms: Some(secs * 1000) })
            .collect(),
        receipts: Vec::new(),
        logs: Vec::new(),
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
    }
}

#[test]
fn a_small_run_spreads_over_all_nodes_before_any_gets_two() {
    let mut market = funded("1000");
    for n in 0..3 {
        hear(&mut market, n, holds(&[]), 0);
    }
    market.start_run(RUN, Arc::new(spec(Limits::default())), at(0)).unwrap();
    market.looked(RUN, None, at(0));
    market.partitioned(RUN, table(3), at(0));

    market.dispatch(at(0));

    assert_eq!([0, 1, 2].map(|n| leased(&market, n).len()), [1, 1, 1]);
}

#[test]
fn a_node_is_filled_to_its_capacity_and_then_fetches_ahead() {
    let mut market = processing(10, Limits::default());

    hear(&mut market, 0, holds(&[]), 0);

    // Two vCPUs, and one task ahead.
    assert_eq!(leased(&market, 0).len(), 3);
    assert_eq!(market.waiting(RUN, at(0)).unwrap().busy, 1);
}

#[test]
fn no_capacity_gets_a_node_more_than_it_may_hold() {
    let mut market = processing(100_000, Limits::default());
    let mut greedy = holds(&[]);
    greedy.sync.capacity = Resources::new(u32::MAX, u32::MAX);
    greedy.sync.prefetch = u32::MAX;
    market.grant(CUSTOMER, credits("1000000"), "more", at(0));

    hear(&mut market, 0, greedy, 0);

    assert!(market.nodes[&node(0)].leased.len() <= 1_024);
}

#[test]
fn a_failed_task_goes_to_another_node() {
    let mut market = processing(1, Limits { task_retries: 3, ..Limits::default() });
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 1, holds(&[]), 0);

    hear(&mut market, 0, fails(lease(0, 1)), 1);

    assert_eq!(leased(&market, 0), []);
    assert_eq!(leased(&market, 1), [lease(0, 2)]);
}

#[test]
fn a_task_that_has_failed_everywhere_is_tried_again_anyway() {
    let mut market = processing(1, Limits { task_retries: 3, ..Limits::default() });
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 1, holds(&[]), 0);
    hear(&mut market, 0, fails(lease(0, 1)), 1);
    hear(&mut market, 1, fails(lease(0, 2)), 2);

    assert_eq!(market.run(RUN).unwrap().active[&0].tries.attempt, 3);
}

#[test]
fn a_task_that_fails_more_often_than_its_retries_ends_the_run_and_costs_nothing() {
    let mut market = processing(1, Limits { task_retries: 1, ..Limits::default() });
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, fails(lease(0, 1)), 1);
    hear(&mut market, 0, fails(lease(0, 2)), 2);

    let changes = market.drain();

    assert_eq!(changes.ended, [Ended { run: RUN, state: RunState::Failed }]);
    assert!(changes.runs[0].error.as_ref().unwrap().starts_with("chunk 0 failed 2 times"));
    assert_eq!(market.balance(Account::Available(CUSTOMER)), credits("1000"));
}

#[test]
fn a_task_that_nodes_lose_too_often_ends_the_run() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    for incarnation in 2..=u64::from(Policy::default().losses_max) {
        let mut anew = holds(&[]);
        anew.sync.incarnation = incarnation;
        hear(&mut market, 0, anew, 0);
        assert!(market.run(RUN).is_some());
    }

    hear(&mut market, 0, holds(&[]), 0);

    assert!(market.run(RUN).is_none());
}

#[test]
fn faults_in_a_row_set_a_node_aside_for_a_while() {
    let mut market = processing(9, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    for lease in leased(&market, 0) {
        market.sync(node(0), OPERATOR, faults(lease), at(1));
    }
    market.dispatch(at(1));

    assert_eq!(leased(&market, 0), []);
    assert_eq!(market.waiting(RUN, at(1)).unwrap().aside, 1);
    hear(&mut market, 0, holds(&[]), 62);
    assert_eq!(leased(&market, 0).len(), 3);
}

#[test]
fn a_receipt_that_comes_again_or_late_or_from_another_changes_nothing() {
    let mut market = processing(2, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, succeeds(lease(0, 1)), 1);
    market.drain();

    for (n, heard) in [
        (0, succeeds(lease(0, 1))),
        (0, fails(lease(0, 1))),
        (0, succeeds(lease(1, 2))),
        (1, succeeds(lease(1, 1))),
        (1, faults(lease(1, 1))),
    ] {
        market.sync(node(n), OPERATOR, heard, at(2));
    }

    assert!(market.drain().is_stored());
}

#[test]
fn a_result_is_paid_once_and_the_rest_of_the_hold_comes_back() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    assert_eq!(market.balance(Account::Held(CUSTOMER)), cost(60));
    hear(&mut market, 0, succeeds(lease(0, 1)), 1);
    market.folded(RUN, at(2));
    market.delivered(RUN, at(3));

    assert_eq!(market.balance(Account::Pending(OPERATOR)), cost(1));
    assert_eq!(market.balance(Account::Held(CUSTOMER)), Credits::ZERO);
    let lines = market.drain().lines;
    assert_eq!(lines.last().unwrap().debit, Some(cost(1)));
}

#[test]
fn a_price_is_clamped_to_what_the_lease_allowed() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    let lie = Usage { cpu_ms: u64::MAX, memory_mib_ms: u64::MAX, wall_ms: u64::MAX };

    hear(&mut market, 0, ends(lease(0, 1), Outcome::Succeeded { outputs: vec![] }, lie), 5);

    assert_eq!(market.balance(Account::Pending(OPERATOR)), cost(5));
}

#[test]
fn a_run_that_the_wallet_cannot_hold_is_refused_and_leaves_nothing() {
    let mut market = funded("0.01");
    market.drain();

    let refused = market.start_run(RUN, Arc::new(spec(Limits::default())), at(0));

    assert!(matches!(refused, Err(Refused::Wallet { .. })));
    assert!(market.run(RUN).is_none() && market.drain().is_stored());
}

#[test]
fn a_hold_grows_with_a_task_that_runs_long_and_not_with_one_that_waits() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    let mut queued = holds(&[(lease(0, 1), 0)]);
    queued.sync.holding[0].running_ms = None;
    hear(&mut market, 0, queued, 20);
    market.tick(at(49));
    assert_eq!(market.run(RUN).unwrap().held(), cost(60));

    hear(&mut market, 0, holds(&[(lease(0, 1), 49)]), 49);
    market.tick(at(49));

    assert!(market.run(RUN).unwrap().held() > cost(49 + 30));
}

#[test]
fn a_run_ends_when_its_wallet_cannot_pay_for_a_longer_task() {
    let mut market = funded("0.02");
    market.start_run(RUN, Arc::new(spec(Limits::default())), at(0)).unwrap();
    market.looked(RUN, None, at(0));
    market.partitioned(RUN, table(1), at(0));
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, holds(&[(lease(0, 1), 50)]), 50);

    market.tick(at(50));

    let ended = market.drain().runs.pop().unwrap();
    assert!(ended.error.unwrap().contains("longer than the wallet can pay for"));
    assert_eq!(market.balance(Account::Available(CUSTOMER)), credits("0.02"));
}

#[test]
fn a_job_timeout_ends_the_run() {
    let mut market = processing(1, Limits { job_timeout_secs: Some(60), ..Limits::default() });
    market.tick(at(60));
    assert!(market.run(RUN).is_some());

    market.tick(at(61));

    assert!(market.run(RUN).is_none());
}

#[test]
fn a_task_past_its_timeout_is_taken_from_a_node_that_does_not_end_it() {
    let mut market = processing(1, Limits { task_timeout_secs: Some(5), ..Limits::default() });
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, holds(&[(lease(0, 1), 1)]), 1);
    hear(&mut market, 0, holds(&[(lease(0, 1), 29)]), 29);

    market.tick(at(36));

    assert_eq!(leased(&market, 0), []);
}

#[test]
fn orders_are_repeated_until_the_node_lists_them_and_cancelled_when_they_are_not_its_own() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    for _ in 0..2 {
        let Some(Orders::Work { assign, works, .. }) = market.orders(node(0), vec![]) else {
            panic!("there is work");
        };
        assert_eq!((assign[0].lease, works.len()), (lease(0, 1), 1));
    }

    hear(&mut market, 0, holds(&[(lease(0, 1), 1), (lease(7, 1), 1)]), 1);

    let Some(Orders::Work { assign, cancel, .. }) = market.orders(node(0), vec![]) else {
        panic!("there is something to cancel");
    };
    assert_eq!((assign.len(), cancel), (0, vec![lease(7, 1)]));
}

#[test]
fn a_node_that_starts_anew_loses_what_it_does_not_list() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    let mut anew = holds(&[]);
    anew.sync.incarnation = 2;

    hear(&mut market, 0, anew, 1);
    assert_eq!(leased(&market, 0), [lease(0, 2)]);

    // The dead process's last message comes late.
    hear(&mut market, 0, holds(&[(lease(0, 1), 1)]), 2);
    assert_eq!(leased(&market, 0), [lease(0, 2)]);
}

#[test]
fn a_silent_node_loses_its_tasks_to_others() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 1, holds(&[]), 20);

    market.tick(at(30));
    market.dispatch(at(30));

    assert_eq!(leased(&market, 1), [lease(0, 2)]);
    assert!(market.node(node(0)).is_none());
}

#[test]
fn log_lines_that_come_again_are_taken_once_and_a_flood_is_cut() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    let mut write = |first, n| {
        let line = LogLine { at_us: 0, text: String::new() };
        let mut heard = holds(&[(lease(0, 1), 1)]);
        heard.sync.logs.push(LogBatch { lease: lease(0, 1), first, lines: vec![line; n] });
        hear(&mut market, 0, heard, 1);
        market.drain().logs.iter().map(|log| (log.first, log.lines.len())).collect::<Vec<_>>()
    };

    assert_eq!(write(0, 3), [(0, 3)]);
    assert_eq!(write(0, 3), []);
    assert_eq!(write(1, 4), [(3, 2)]);
    assert_eq!(write(9, 5_000), [(9, 1_991)]);
    assert_eq!(write(u32::MAX, 3), []);
}

#[test]
fn a_run_of_a_million_chunks_starts_without_a_task() {
    let mut market = funded("100000000");
    market.start_run(RUN, Arc::new(spec(Limits::default())), at(0)).unwrap();
    market.looked(RUN, None, at(0));
    market.partitioned(RUN, table(1_000_000), at(0));

    let changes = market.drain();

    assert_eq!((changes.runs.len(), changes.tasks.len()), (1, 0));
}

#[test]
fn a_restart_begins_each_state_with_the_step_that_it_was_in() {
    let mut market = processing(1, Limits::default());
    let mut steps = Vec::new();
    let mut restart = |changes: Changes| {
        let mut market = Market::load(Policy::default(), stored(changes), at(0));
        assert_eq!(market.check(), Ok(()));
        steps.push(market.drain().steps.first().map(|(_, step)| *step));
        market
    };
    let mut fetching = funded("1");
    fetching.start_run(RUN, Arc::new(spec(Limits::default())), at(0)).unwrap();
    restart(fetching.drain());
    fetching = funded("1");
    fetching.start_run(RUN, Arc::new(spec(Limits::default())), at(0)).unwrap();
    fetching.looked(RUN, None, at(0));
    restart(fetching.drain());
    hear(&mut market, 0, holds(&[]), 0);
    let mut again = restart(market.drain());
    assert_eq!(leased(&again, 0), [lease(0, 1)]);
    hear(&mut again, 0, succeeds(lease(0, 1)), 1);
    assert_eq!(again.run(RUN).unwrap().state(), RunState::Assembling);
    let mut custom = spec(Limits::default());
    custom.partition = Partition::Custom(container());
    let mut collecting = funded("1");
    collecting.start_run(RUN, Arc::new(custom), at(0)).unwrap();
    collecting.looked(RUN, Some(table(1)), at(0));
    hear(&mut collecting, 0, holds(&[]), 0);
    let partition = leased(&collecting, 0)[0];
    hear(&mut collecting, 0, succeeds(partition), 1);
    restart(collecting.drain());

    assert_eq!(steps, [Some(Step::Cut), Some(Step::Cut), None, Some(Step::Collect)]);
}

#[test]
fn a_dry_run_waits_for_its_running_tasks_and_does_not_hide_others() {
    let mut market = funded(&cost(60).saturating_mul(3).to_string());
    market.start_run(RUN, Arc::new(spec(Limits::default())), at(0)).unwrap();
    market.looked(RUN, None, at(0));
    market.partitioned(RUN, table(3), at(0));
    let small = |held: &[(Lease, u64)]| {
        let mut heard = holds(held);
        heard.sync.capacity = Resources::new(1000, 1024);
        heard.sync.prefetch = 0;
        heard
    };
    hear(&mut market, 0, small(&[]), 0);
    hear(&mut market, 0, small(&[(lease(0, 1), 100)]), 100);
    market.tick(at(100));
    hear(&mut market, 1, small(&[]), 100);
    assert_eq!(leased(&market, 1), []);
    assert!(market.waiting(RUN, at(100)).unwrap().lacks_credits);

    hear(&mut market, 0, succeeds(lease(0, 1)), 101);

    assert_eq!(market.run(RUN).unwrap().active.len(), 2);
}
