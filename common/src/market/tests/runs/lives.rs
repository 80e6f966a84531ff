//! How runs begin, are paid, and end.

use super::*;
use crate::run::cause::CauseKind;

#[test]
fn task_that_fails_beyond_its_retries_ends_the_run_and_is_free() {
    let mut market = processing(1, Limits { task_retries: 1, ..Limits::default() });
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, fails(lease(0, 1)), 1);
    hear(&mut market, 0, fails(lease(0, 2)), 2);

    let changes = market.drain();

    assert_eq!(changes.ended, [Ended { run: RUN, state: RunState::Failed }]);
    assert!(changes.runs[0].error().unwrap().starts_with("chunk 0 failed 2 times"));
    assert_eq!(changes.runs[0].cause.as_ref().map(|cause| cause.kind), Some(CauseKind::TaskFailed));
    assert_eq!(market.balance(Account::Available(CUSTOMER)), credits("1000"));
}

#[test]
fn receipt_that_is_repeated_late_or_of_another_node_changes_nothing() {
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

    assert!(market.drain().is_volatile());
}

#[test]
fn result_is_paid_once_and_the_rest_of_the_hold_comes_back() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    assert_eq!(market.balance(Account::Held(CUSTOMER)), cost(60));
    hear(&mut market, 0, succeeds(lease(0, 1)), 1);
    do_steps(&mut market, RUN, 1, at(3));

    assert_eq!(market.pending(OPERATOR), cost(1));
    assert_eq!(market.balance(Account::Held(CUSTOMER)), Credits::ZERO);
    let lines = market.drain().lines;
    assert_eq!(lines.last().unwrap().debit(), Some(cost(1)));
}

#[test]
fn price_is_limited_to_what_the_lease_allowed() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    let lie =
        Usage { cpu_ms: u64::MAX, memory_mib_ms: u64::MAX, wall_ms: u64::MAX, ..Usage::default() };

    hear(
        &mut market,
        0,
        ends(lease(0, 1), Outcome::Succeeded { outputs: vec![], value: None }, lie),
        5,
    );

    assert_eq!(market.pending(OPERATOR), cost(5));
}

#[test]
fn run_that_the_wallet_cannot_hold_is_refused_and_leaves_nothing() {
    let mut market = funded("0.01");
    market.drain();

    let refused = market.start_run(RUN, Arc::new(spec(Limits::default())), at(0));

    assert!(matches!(refused, Err(Refused::Wallet { .. })));
    assert!(market.run(RUN).is_none() && market.drain().is_volatile());
}

#[test]
fn hold_grows_with_a_task_that_runs_long_and_not_with_one_that_waits() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    let mut queued = holds(&[(lease(0, 1), 0)]);
    queued.sync.holding[0].running_ms = None;
    hear(&mut market, 0, queued, 20);
    market.tick(at(49));
    assert_eq!(market.run(RUN).unwrap().held(), cost(60));

    // It has not run before the last message in which it did not.
    hear(&mut market, 0, holds(&[(lease(0, 1), 49)]), 49);
    market.tick(at(49));
    assert_eq!(market.run(RUN).unwrap().held(), cost(60));
    hear(&mut market, 0, holds(&[(lease(0, 1), 70)]), 70);
    market.tick(at(70));

    assert!(market.run(RUN).unwrap().held() > cost(50 + 30));
}

#[test]
fn run_ends_when_its_wallet_cannot_pay_for_a_longer_task() {
    let mut market = funded("0.02");
    start_cut(&mut market, RUN, spec(Limits::default()), 1, at(0));
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, holds(&[(lease(0, 1), 50)]), 50);

    market.tick(at(50));

    let ended = market.drain().runs.pop().unwrap();
    assert!(ended.error().unwrap().contains("longer than the wallet can pay for"));
    let left = credits("0.02").checked_sub(cost(50)).unwrap();
    assert_eq!(market.balance(Account::Available(CUSTOMER)), left);
}

#[test]
fn job_timeout_ends_the_run() {
    let mut market = processing(1, Limits { job_timeout_secs: Some(60), ..Limits::default() });
    market.tick(at(60));
    assert!(market.run(RUN).is_some());

    market.tick(at(61));

    assert!(market.run(RUN).is_none());
}

#[test]
fn run_of_a_million_chunks_starts_without_a_task() {
    let mut market = funded("100000000");
    start_cut(&mut market, RUN, spec(Limits::default()), 1_000_000, at(0));

    let changes = market.drain();

    assert_eq!((changes.runs.len(), changes.tasks.len()), (1, 0));
}

#[test]
fn restart_begins_each_state_with_its_current_step() {
    let mut market = processing(1, Limits::default());
    let mut steps = Vec::new();
    let mut restart = |changes: Changes| {
        let mut market = Market::load(Policy::default(), stored(changes), at(0));
        assert_eq!(market.check(), Ok(()));
        steps.push(market.drain().steps.first().map(|(_, no)| no.number()));
        market
    };
    let mut fetching = funded("1");
    fetching.start_run(RUN, Arc::new(spec(Limits::default())), at(0)).unwrap();
    restart(fetching.drain());
    fetching = funded("1");
    fetching.start_run(RUN, Arc::new(spec(Limits::default())), at(0)).unwrap();
    fetching.step_enters(RUN, StageNo::new(1), Phase::Partition, at(0));
    assert_eq!(fetching.run(RUN).unwrap().phase(), Some(Phase::Partition));
    restart(fetching.drain());
    hear(&mut market, 0, holds(&[]), 0);
    let mut again = restart(market.drain());
    assert_eq!(leased(&again, 0), [lease(0, 1)]);
    hear(&mut again, 0, succeeds(lease(0, 1)), 1);
    assert_eq!(again.run(RUN).unwrap().phase(), Some(Phase::Assemble));
    let mut collecting = funded("1");
    start_cut(&mut collecting, RUN, custom_engines(), 1, at(0));
    hear(&mut collecting, 0, holds(&[]), 0);
    let partition = leased(&collecting, 0)[0];
    hear(&mut collecting, 0, succeeds(partition), 1);
    restart(collecting.drain());

    // To cut, to cut again, none, and to collect what the partitioner wrote.
    assert_eq!(steps, [Some(1), Some(1), None, Some(3)]);
}

#[test]
fn dry_run_waits_for_its_running_tasks_and_does_not_hide_others() {
    let mut market = funded(&cost(60).saturating_mul(3).to_string());
    start_cut(&mut market, RUN, spec(Limits::default()), 3, at(0));
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
    assert!(obstacles(&market, 100).lacks_credits);

    hear(&mut market, 0, succeeds(lease(0, 1)), 101);

    assert_eq!(market.run(RUN).unwrap().running(), 2);
}

#[test]
fn image_that_one_node_cannot_pull_is_tried_on_a_limited_number_of_others() {
    let mut market = processing(1, Limits::default());
    (0..4).for_each(|n| hear(&mut market, n, holds(&[]), 0));
    let mut tried = Vec::new();
    for attempt in 1..=3 {
        let (held, secs) = (lease(0, attempt), i64::from(attempt) * 60);
        (0..4).for_each(|n| market.sync(node(n), OPERATOR, holds(&[]), at(secs)));
        market.dispatch(at(secs));
        let holder = (0..4).find(|n| leased(&market, *n) == [held]).unwrap();
        assert!(!tried.contains(&holder), "{tried:?}");
        tried.push(holder);
        let message = "the registry r.example cannot be reached".to_owned();
        let outcome = Outcome::Failed { failure: Failure::Registry, message };
        hear(&mut market, holder, ends(held, outcome, Usage::default()), secs);
    }

    let changes = market.drain();
    assert_eq!(changes.ended, [Ended { run: RUN, state: RunState::Failed }]);
    assert!(changes.runs[0].error().unwrap().contains("its image cannot be pulled"));
}
