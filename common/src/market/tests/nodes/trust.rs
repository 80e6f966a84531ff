//! What a node must show before it gets much, and what its word is worth until then.

use super::*;
use crate::digest::Digest;
use crate::protocol::Output;

/// An operator that nobody knows.
const STRANGER: WorkspaceId = WorkspaceId::new(Uuid::from_u128(66));

fn hear_stranger(market: &mut Market, n: u128, mut heard: CheckedSync, secs: i64) {
    heard.sync.capacity = Resources::new(u32::MAX, u32::MAX);
    market.sync(node(n), STRANGER, heard, at(secs));
    market.dispatch(at(secs));
    assert_eq!(market.check(), Ok(()));
}

/// The node ends all that it has at once, and claims the largest usage there is.
fn ends_all(market: &mut Market, n: u128, secs: i64) -> usize {
    let usage =
        Usage { cpu_ms: 1 << 62, memory_mib_ms: 1 << 62, wall_ms: 1 << 62, ..Usage::default() };
    let leases = leased(market, n);
    let mut heard = holds(&[]);
    for lease in &leases {
        heard.receipts.extend(
            ends(*lease, Outcome::Succeeded { outputs: vec![], value: None }, usage).receipts,
        );
    }
    hear_stranger(market, n, heard, secs);
    leases.len()
}

#[test]
fn new_node_gets_two_leases_and_doubles_with_each_accepted_window() {
    let mut market = processing(10_000, Limits::default());
    hear_stranger(&mut market, 0, holds(&[]), 0);

    let mut had = Vec::new();
    for secs in 1..=12 {
        had.push(ends_all(&mut market, 0, secs));
    }

    assert_eq!(had[..6], [2, 4, 8, 16, 32, 64]);
    assert_eq!(had[11], 1_024, "and never more than the most");
}

#[test]
fn node_that_never_uses_all_its_leases_gets_no_more() {
    let mut market = processing(10_000, Limits::default());
    let small = |market: &mut Market, secs| {
        let done: Vec<_> =
            leased(market, 0).into_iter().flat_map(|l| succeeds(l).receipts).collect();
        let heard = CheckedSync { receipts: done, ..holds(&[]) };
        market.sync(node(0), STRANGER, heard, at(secs));
        market.dispatch(at(secs));
    };
    market.sync(node(0), STRANGER, holds(&[]), at(0));
    market.dispatch(at(0));
    for secs in 0..40 {
        small(&mut market, secs);
    }

    // Two vCPUs and one ahead.
    assert_eq!(leased(&market, 0).len(), 3);
    assert_eq!(market.trust.windows[&node(0)], 4);
}

#[test]
fn trust_of_a_node_survives_its_silence_and_a_restart() {
    let mut market = processing(10_000, Limits::default());
    hear_stranger(&mut market, 0, holds(&[]), 0);
    for secs in 1..=3 {
        ends_all(&mut market, 0, secs);
    }
    market.tick(at(100));
    assert!(!market.nodes[&node(0)].is_present(at(100)));
    let changes = market.drain();
    let windows = changes.windows.clone();
    assert_eq!(windows[&node(0)], 16);

    let stored = Stored { windows, ..stored(changes) };
    let mut market = Market::load(Policy::default(), stored, at(101));
    hear_stranger(&mut market, 0, holds(&[]), 101);

    assert_eq!(leased(&market, 0).len(), 16);
}

#[test]
fn operator_is_proven_by_accepted_results_only() {
    let mut market = processing(9_000, Limits::default());
    hear_stranger(&mut market, 0, holds(&[]), 0);
    for secs in 1..=9 {
        ends_all(&mut market, 0, secs);
    }
    assert!(!market.trust.is_proven(STRANGER));
    market.drain();

    for n in 0..256 {
        assert!(!market.trust.is_proven(STRANGER), "after {n}");
        let task = leased(&market, 0)[0];
        let digest = Digest::of(b"result");
        let outputs = vec![Output { name: "out".to_owned(), size: 1, digest }];
        let done = Outcome::Succeeded { outputs, value: None };
        hear_stranger(&mut market, 0, ends(task, done, Usage::default()), 10);
    }

    assert!(market.trust.is_proven(STRANGER));
    assert_eq!(market.drain().operators[&STRANGER].accepted, 256);
}

#[test]
fn unproven_operator_gets_a_quarter_of_a_run_while_others_can_do_it() {
    let mut market = processing(600, Limits::default());
    hear(&mut market, 1, holds(&[]), 0);
    hear_stranger(&mut market, 0, holds(&[]), 0);
    let (mut stolen, mut done) = (0, 0);

    // The liar says ten times in each second that it is done; the honest node takes two seconds.
    for secs in 1..=60 {
        for _ in 0..10 {
            stolen += ends_all(&mut market, 0, secs);
        }
        if secs % 2 == 0 {
            let mine = leased(&market, 1);
            done += mine.len();
            let receipts = mine.into_iter().flat_map(|lease| succeeds(lease).receipts).collect();
            hear(&mut market, 1, CheckedSync { receipts, ..holds(&[]) }, secs);
        }
        hear(&mut market, 1, holds(&[]), secs);
    }

    assert!(done >= 80, "the honest node did {done}");
    assert!(stolen * 3 <= done + 30, "the liar took {stolen}, the honest node {done}");
    let waits = obstacles(&market, 60);
    assert_eq!((waits.new, waits.busy, waits.nodes), (1, 1, 2));
}

#[test]
fn run_makes_progress_with_only_a_new_operator_or_stalled_others() {
    let mut market = processing(600, Limits::default());
    hear_stranger(&mut market, 0, holds(&[]), 0);
    let alone: usize = (1..=4).map(|secs| ends_all(&mut market, 0, secs)).sum();
    assert_eq!(alone, 2 + 4 + 8 + 16);

    let mut market = processing(600, Limits::default());
    hear(&mut market, 1, holds(&[]), 0);
    hear_stranger(&mut market, 0, holds(&[]), 0);
    let mut done = 0;
    for secs in 1..=100 {
        hear(&mut market, 1, holds(&[]), secs);
        done += ends_all(&mut market, 0, secs);
    }
    assert!((8..=13).contains(&done), "one each ten seconds: {done}");
}

#[test]
fn claimed_running_time_counts_from_the_message_before() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    let mut idle = holds(&[(lease(0, 1), 0)]);
    idle.sync.holding[0].running_ms = None;
    hear(&mut market, 0, idle, 20);
    let lie =
        Usage { cpu_ms: u64::MAX, memory_mib_ms: u64::MAX, wall_ms: u64::MAX, ..Usage::default() };

    hear(
        &mut market,
        0,
        ends(lease(0, 1), Outcome::Succeeded { outputs: vec![], value: None }, lie),
        23,
    );

    assert_eq!(market.pending(OPERATOR), cost(3));
}

#[test]
fn attempt_costs_no_more_than_its_timeout() {
    let mut market = processing(1, Limits { task_timeout_secs: 10, ..Limits::default() });
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, holds(&[(lease(0, 1), 1)]), 1);
    let lie =
        Usage { cpu_ms: u64::MAX, memory_mib_ms: u64::MAX, wall_ms: u64::MAX, ..Usage::default() };

    hear(
        &mut market,
        0,
        ends(lease(0, 1), Outcome::Succeeded { outputs: vec![], value: None }, lie),
        29,
    );

    assert_eq!(market.pending(OPERATOR), cost(10));
}

#[test]
fn hold_never_grows_beyond_what_the_timeout_allows() {
    let mut market = processing(1, Limits { task_timeout_secs: 100, ..Limits::default() });
    hear(&mut market, 0, holds(&[]), 0);
    for secs in 1..=120 {
        hear(&mut market, 0, holds(&[(lease(0, 1), 9_999_999)]), secs);
        market.tick(at(secs));
        assert!(market.run(RUN).unwrap().held() <= cost(125));
    }
    assert_eq!(market.run(RUN).unwrap().active_lease(lease(0, 1)).unwrap().bound, cost(100));
}

#[test]
fn running_claim_of_an_unproven_node_ends_no_run_that_others_could_do() {
    let mut market = funded("0.02");
    start_cut(&mut market, RUN, spec(Limits::default()), 1, at(0));
    hear_stranger(&mut market, 0, holds(&[]), 0);
    hear_stranger(&mut market, 0, holds(&[(lease(0, 1), 50)]), 50);
    hear(&mut market, 1, holds(&[]), 50);

    market.tick(at(50));
    market.dispatch(at(50));

    assert_eq!(leased(&market, 1), [lease(0, 2)]);
    assert_eq!(market.pending(STRANGER), Credits::ZERO);
}

#[test]
fn failure_on_a_new_operators_node_is_retried_elsewhere_and_not_paid() {
    let mut market = processing(1, Limits::default());
    hear_stranger(&mut market, 0, holds(&[]), 0);
    let mut waits = holds(&[]);
    waits.sync.capacity = Resources::new(1000, 1024);
    hear(&mut market, 1, waits, 0);
    let used = Usage::full(container().needs, 1_000);
    let failed = |lease| {
        let outcome = Outcome::Failed { failure: Failure::ExitCode(1), message: String::new() };
        ends(lease, outcome, used)
    };

    hear_stranger(&mut market, 0, failed(lease(0, 1)), 5);
    assert_eq!(market.pending(STRANGER), Credits::ZERO);
    assert_eq!(leased(&market, 1), [lease(0, 2)], "no retry of the job was needed");
    hear(&mut market, 1, failed(lease(0, 2)), 10);

    assert!(market.run(RUN).is_none());
    assert_eq!(market.pending(OPERATOR), cost(1));
}

#[test]
fn new_operator_without_a_result_is_paid_the_estimate_at_most() {
    let mut market = processing(1, Limits::default());
    hear_stranger(&mut market, 0, holds(&[]), 0);
    for secs in (1..=3_000).step_by(20) {
        hear_stranger(&mut market, 0, holds(&[(lease(0, 1), 1 << 20)]), secs);
        market.tick(at(secs));
    }

    market.cancel(RUN, "enough".to_owned(), at(3_000)).unwrap();

    assert_eq!(market.pending(STRANGER), cost(60));
}

#[test]
fn new_operators_node_that_does_not_begin_loses_its_task_soon() {
    let mut market = processing(1, Limits::default());
    let idle = || {
        let mut held = holds(&[(lease(0, 1), 0)]);
        held.sync.holding[0].running_ms = None;
        held
    };
    hear_stranger(&mut market, 0, holds(&[]), 0);
    for secs in (0..=600).step_by(20) {
        hear_stranger(&mut market, 0, idle(), secs);
        market.tick(at(secs));
    }
    assert_eq!(leased(&market, 0), [lease(0, 1)]);

    market.tick(at(601));

    assert_eq!(leased(&market, 0), []);
}

/// A run of which an honest node has done four tasks of a second each, and a stranger holds two.
fn straggling(chunks: u32) -> Market {
    let mut market = processing(chunks, Limits::default());
    hear_stranger(&mut market, 0, holds(&[]), 0);
    let mut secs = 0;
    for _ in 0..2 {
        hear(&mut market, 1, holds(&[]), secs);
        secs += 1;
        let second = Usage::full(container().needs, 1_000);
        let done = leased(&market, 1).into_iter().take(2);
        let receipts = done.flat_map(|l| {
            ends(l, Outcome::Succeeded { outputs: vec![], value: None }, second).receipts
        });
        let heard = CheckedSync { receipts: receipts.collect(), ..holds(&[]) };
        hear(&mut market, 1, heard, secs);
    }
    assert_eq!((market.run(RUN).unwrap().counts().done, leased(&market, 0).len()), (4, 2));
    market
}

#[test]
fn straggling_task_of_a_new_operator_goes_to_another_unpaid() {
    let mut market = straggling(100);
    let held: Vec<_> = leased(&market, 0).into_iter().map(|lease| (lease, 1 << 30)).collect();
    hear_stranger(&mut market, 0, holds(&held), 3);

    market.tick(at(8));
    assert_eq!(leased(&market, 0).len(), 2, "eight times the mean is not over");
    hear_stranger(&mut market, 0, holds(&held), 12);
    market.tick(at(12));

    assert_eq!(leased(&market, 0), []);
    assert_eq!(tasks(&market).waiting.len(), 2);
    assert!(tasks(&market).waiting.values().all(|tries| tries.losses == 0));
    assert_eq!(market.pending(STRANGER), Credits::ZERO);
}

#[test]
fn slow_task_stays_with_proven_operators_and_where_no_other_could_do_it() {
    let mut market = straggling(100);
    let mine: Vec<_> = leased(&market, 1).into_iter().map(|lease| (lease, 1 << 30)).collect();
    let held: Vec<_> = leased(&market, 0).into_iter().map(|lease| (lease, 1 << 30)).collect();
    for secs in (3..30).step_by(5) {
        hear(&mut market, 1, holds(&mine), secs);
    }
    market.tick(at(29));
    assert_eq!(leased(&market, 1).len(), mine.len(), "a proven operator has until the timeout");

    hear_stranger(&mut market, 0, holds(&held), 50);
    market.tick(at(60));
    hear_stranger(&mut market, 0, holds(&held), 70);
    market.tick(at(75));

    assert!(!market.nodes[&node(1)].is_present(at(75)), "it has gone");
    assert!(!leased(&market, 0).is_empty(), "the only one left keeps its tasks");
}

#[test]
fn last_tasks_of_a_run_do_not_wait_for_a_new_operator_that_does_not_begin() {
    let mut market = processing(2, Limits::default());
    hear_stranger(&mut market, 0, holds(&[]), 0);
    assert_eq!(leased(&market, 0).len(), 2);
    for secs in (0..=60).step_by(20) {
        hear_stranger(&mut market, 0, holds(&[]), secs);
        hear(&mut market, 1, holds(&[]), secs);
        market.tick(at(secs));
    }
    assert_eq!(leased(&market, 0).len(), 2);

    market.tick(at(61));
    market.dispatch(at(61));

    assert_eq!(leased(&market, 1).len(), 2);
}
