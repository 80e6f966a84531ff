//! Spot checks: who is asked, what follows from the answers, and who pays.

use super::*;
use crate::digest::Digest;
use crate::money::ledger::Kind;
use crate::protocol::Output;

const STRANGER: WorkspaceId = WorkspaceId::new(Uuid::from_u128(66));
const ACCOMPLICE: WorkspaceId = WorkspaceId::new(Uuid::from_u128(67));

/// A market that checks every task, with one run in its process stage.
fn checking(chunks: u32, limits: Limits) -> Market {
    let checks = Checks { percent: 100, key: [7; 32] };
    let policy = Policy { checks, ..Policy::default() };
    let mut market = Market::load(policy, Stored::default(), at(0));
    market.trust(OPERATOR);
    market.grant(CUSTOMER, credits("1000"), "gift", at(0)).unwrap();
    start(&mut market, RUN, chunks, limits);
    market
}

fn start(market: &mut Market, run: RunId, chunks: u32, limits: Limits) {
    start_cut(market, run, spec(limits), chunks, at(0));
}

/// A node with room for one task says something.
fn says(market: &mut Market, n: u128, operator: WorkspaceId, mut heard: CheckedSync, secs: i64) {
    heard.sync.capacity = Resources::new(1000, 1024);
    heard.sync.prefetch = 0;
    market.sync(node(n), operator, heard, at(secs));
    market.dispatch(at(secs));
    assert_eq!(market.check(), Ok(()));
}

fn comes(market: &mut Market, n: u128, operator: WorkspaceId, secs: i64) {
    says(market, n, operator, holds(&[]), secs);
}

/// The node ends its one task with this result.
fn gives(market: &mut Market, n: u128, operator: WorkspaceId, result: &str, secs: i64) {
    let lease = leased(market, n)[0];
    let digest = Digest::of(result.as_bytes());
    let outputs = vec![Output { name: "out".to_owned(), size: 1, digest }];
    let usage = Usage::full(container().needs, 1000);
    says(
        market,
        n,
        operator,
        ends(lease, Outcome::Succeeded { outputs, value: None }, usage),
        secs,
    );
}

fn earned(market: &Market, operator: WorkspaceId) -> Credits {
    market.pending(operator)
}

fn phase(market: &Market) -> Phase {
    market.run(RUN).unwrap().phase().unwrap()
}

/// A stranger's result is checked by the first of the owner's nodes, which differs.
fn disputed() -> Market {
    let mut market = checking(1, Limits::default());
    comes(&mut market, 0, STRANGER, 0);
    for n in [1, 2] {
        comes(&mut market, n, OPERATOR, 0);
    }
    gives(&mut market, 0, STRANGER, "lie", 2);
    assert_eq!(leased(&market, 1), [lease(0, 2)], "an attempt like any other");
    gives(&mut market, 1, OPERATOR, "truth", 4);
    market
}

#[test]
fn check_that_agrees_is_a_proof_and_free() {
    let mut market = checking(1, Limits::default());
    comes(&mut market, 0, STRANGER, 0);
    comes(&mut market, 1, OPERATOR, 0);
    gives(&mut market, 0, STRANGER, "truth", 2);
    assert_eq!(phase(&market), Phase::Process, "it waits for the check");

    gives(&mut market, 1, OPERATOR, "truth", 4);

    assert_eq!(phase(&market), Phase::Assemble);
    assert_eq!(market.trust.operators[&STRANGER].agreed, 1);
    assert_eq!((earned(&market, STRANGER), earned(&market, OPERATOR)), (cost(1), Credits::ZERO));
    let changes = market.drain();
    assert_eq!(changes.operators[&STRANGER].agreed, 1);
    assert_eq!((changes.tasks.len(), changes.tasks[0].attempt, changes.attempts.len()), (1, 1, 0));
}

/// Three nodes, the first of a stranger, end what they have until the run is processed.
fn play(market: &mut Market, result: impl Fn(u128, i64) -> &'static str) {
    for secs in 1..60 {
        market.tick(at(secs));
        for n in 0..3 {
            let operator = if n == 0 { STRANGER } else { OPERATOR };
            if leased(market, n).is_empty() {
                comes(market, n, operator, secs);
            } else {
                gives(market, n, operator, result(n, secs), secs);
            }
        }
        if phase(market) != Phase::Process {
            return;
        }
    }
    panic!("the run goes on for ever");
}

fn three_nodes(market: &mut Market) {
    for (n, operator) in [(0, STRANGER), (1, OPERATOR), (2, OPERATOR)] {
        comes(market, n, operator, 0);
    }
}

#[test]
fn nodes_in_dispute_get_no_more_of_the_run_and_lose_nothing_at_first() {
    let mut market = disputed();
    let run = market.run(RUN).unwrap().tasks(PROCESS).unwrap();
    assert!(run.is_disputed(node(0)) && run.is_disputed(node(1)) && !run.is_disputed(node(2)));
    assert_eq!(leased(&market, 2), [lease(0, 3)]);

    gives(&mut market, 2, OPERATOR, "truth", 6);

    assert_eq!((earned(&market, STRANGER), phase(&market)), (cost(1), Phase::Assemble));
    assert!(!market.nodes[&node(0)].is_barred(CUSTOMER, at(7)));
}

#[test]
fn operator_that_lies_loses_its_earnings_and_this_customer() {
    let mut market = checking(12, Limits::default());
    three_nodes(&mut market);

    play(&mut market, |n, _| if n == 0 { "lie" } else { "truth" });

    assert_eq!(earned(&market, STRANGER), Credits::ZERO);
    let stranger = &market.nodes[&node(0)];
    assert!(stranger.is_barred(CUSTOMER, at(99)) && !stranger.is_barred(ACCOMPLICE, at(99)));
    let captured = market.run(RUN).unwrap().captured();
    let changes = market.drain();
    let taken: Vec<_> = changes.transfers.iter().filter(|t| t.kind == Kind::Reversal).collect();
    assert_eq!((taken.len(), taken[0].to), (1, Account::World(Shard::of(CUSTOMER))));
    assert_eq!(captured, earned(&market, OPERATOR).saturating_add(taken[0].amount));
    assert!(changes.operators.values().all(|record| record.barred_until.is_none()));
    let warning = market.run(RUN).unwrap().warning.clone().unwrap();
    assert!(warning.contains("false results"), "{warning}");
}

#[test]
fn operator_that_lies_to_the_servers_owner_is_barred_even_after_a_restart() {
    let mut market = checking(12, Limits::default());
    market.trust(CUSTOMER);
    three_nodes(&mut market);
    play(&mut market, |n, _| if n == 0 { "lie" } else { "truth" });
    let changes = market.drain();
    let records = changes.operators.clone();
    assert!(records[&STRANGER].barred_until > Some(at(6 * 24 * 3600)));

    let mut market =
        Market::load(Policy::default(), Stored { records, ..stored(changes) }, at(100));
    market.grant(ACCOMPLICE, credits("1000"), "gift", at(100)).unwrap();
    let other = RunId::new(Uuid::from_u128(9));
    let spec = RunSpec { workspace: ACCOMPLICE, ..spec(Limits::default()) };
    start_cut(&mut market, other, spec, 5, at(100));
    comes(&mut market, 5, STRANGER, 100);

    assert_eq!(leased(&market, 5), []);
    let Some(Waiting::Node(obstacles)) = market.waiting(other, at(100)) else { panic!("waits") };
    assert_eq!(obstacles.barred, 1);
}

#[test]
fn operator_with_occasional_differences_is_no_liar() {
    let mut market = checking(12, Limits::default());
    three_nodes(&mut market);

    play(&mut market, |n, secs| if n == 0 && secs == 1 { "flaky" } else { "truth" });

    assert!(!earned(&market, STRANGER).is_zero());
    assert!(!market.nodes[&node(0)].is_barred(CUSTOMER, at(99)));
}

#[test]
fn dispute_with_three_different_results_is_free_and_ends_the_checks() {
    let mut market = disputed();

    gives(&mut market, 2, OPERATOR, "something else", 6);

    let run = market.run(RUN).unwrap();
    assert_eq!((earned(&market, STRANGER), run.phase().unwrap()), (cost(1), Phase::Assemble));
    assert!(run.warning.as_ref().unwrap().contains("not deterministic"));
    assert!(market.trust.operators[&STRANGER].barred_until.is_none());
    let other = RunId::new(Uuid::from_u128(9));
    start(&mut market, other, 1, Limits::default());
    market.dispatch(at(6));
    let holder = (0..3).find(|n| !leased(&market, *n).is_empty()).unwrap();
    let operator = if holder == 0 { STRANGER } else { OPERATOR };
    gives(&mut market, holder, operator, "truth", 8);
    assert_eq!(market.run(other).unwrap().phase(), Some(Phase::Assemble));
}

#[test]
fn dispute_between_unproven_operators_finds_no_liar() {
    let mut market = checking(1, Limits::default());
    comes(&mut market, 0, WorkspaceId::new(Uuid::from_u128(70)), 0);
    comes(&mut market, 1, STRANGER, 0);
    comes(&mut market, 2, ACCOMPLICE, 0);
    gives(&mut market, 0, WorkspaceId::new(Uuid::from_u128(70)), "truth", 2);
    gives(&mut market, 1, STRANGER, "lie", 4);
    gives(&mut market, 2, ACCOMPLICE, "lie", 6);

    assert_eq!(earned(&market, WorkspaceId::new(Uuid::from_u128(70))), cost(1));
    assert!(market.trust.operators.values().all(|record| record.barred_until.is_none()));
    assert_eq!(market.trust.operators.get(&STRANGER).map_or(0, |record| record.agreed), 0);
}

#[test]
fn dispute_without_a_third_node_decides_nothing() {
    let mut market = checking(1, Limits::default());
    comes(&mut market, 0, STRANGER, 0);
    comes(&mut market, 1, OPERATOR, 0);
    gives(&mut market, 0, STRANGER, "lie", 2);
    gives(&mut market, 1, OPERATOR, "truth", 4);

    assert_eq!((phase(&market), earned(&market, STRANGER)), (Phase::Assemble, cost(1)));
}

#[test]
fn check_that_does_not_end_delays_its_run_only_briefly() {
    let mut market = checking(1, Limits::default());
    comes(&mut market, 0, STRANGER, 0);
    comes(&mut market, 1, OPERATOR, 0);
    gives(&mut market, 0, STRANGER, "truth", 2);
    says(&mut market, 1, OPERATOR, holds(&[(lease(0, 2), 1)]), 4);
    market.tick(at(5));
    assert_eq!(phase(&market), Phase::Process);

    market.tick(at(7));

    assert_eq!((phase(&market), leased(&market, 1)), (Phase::Assemble, vec![]));
    assert_eq!(market.check(), Ok(()));
}

#[test]
fn check_that_is_lost_or_cut_off_leaves_the_result_unchanged() {
    let mut market = checking(2, Limits::default());
    comes(&mut market, 0, STRANGER, 0);
    comes(&mut market, 1, OPERATOR, 0);
    gives(&mut market, 0, STRANGER, "truth", 2);
    let mine = leased(&market, 1)[0];
    says(
        &mut market,
        1,
        OPERATOR,
        ends(mine, Outcome::Succeeded { outputs: vec![], value: None }, Usage::default()),
        3,
    );
    market.drain();
    let check = leased(&market, 1).into_iter().find(|lease| lease.attempt > 1);
    if let Some(check) = check {
        says(&mut market, 1, OPERATOR, faults(check), 4);
    }

    market.cancel(RUN, "enough".to_owned(), at(5)).unwrap();

    let changes = market.drain();
    assert!(changes.tasks.iter().all(|task| task.attempt == 1), "{:?}", changes.tasks);
    assert_eq!(market.check(), Ok(()));
}

#[test]
fn job_that_is_not_deterministic_is_not_checked() {
    let mut market = checking(1, Limits { deterministic: false, ..Limits::default() });
    comes(&mut market, 0, STRANGER, 0);
    comes(&mut market, 1, OPERATOR, 0);

    gives(&mut market, 0, STRANGER, "lie", 2);

    assert_eq!(phase(&market), Phase::Assemble);
}
