//! When and where runs begin, and how much of them.

use super::*;
use crate::run::scheduling::{Regions, TEST_CHUNKS};

/// A market with one run that begins at the hundredth second.
fn scheduled() -> Market {
    let mut market = funded("1000");
    let mut spec = spec(Limits { job_timeout_secs: Some(60), ..Limits::default() });
    spec.terms.start_at = Some(at(100));
    market.start_run(RUN, Arc::new(spec), at(0)).unwrap();
    market
}

fn state(market: &Market) -> RunState {
    market.run(RUN).unwrap().state()
}

#[test]
fn scheduled_run_holds_its_credits_and_begins_at_its_time() {
    let mut market = scheduled();
    let accepted = market.drain();
    assert_eq!(accepted.runs[0].times.states, [(RunState::Scheduled, at(0))].into());
    assert!(accepted.steps.is_empty() && !market.run(RUN).unwrap().held().is_zero());
    assert_eq!(market.waiting(RUN, at(1)), Some(Waiting::Start(at(100))));

    market.tick(at(99));
    assert_eq!(state(&market), RunState::Scheduled);
    market.tick(at(100));

    assert_eq!(state(&market), RunState::Running);
    let begun = market.drain();
    assert_eq!(begun.steps, [(RUN, StageNo::new(1))]);
    assert_eq!(begun.runs[0].times.began(), Some(at(100)));
    market.tick(at(101));
    assert!(market.drain().is_volatile());
}

#[test]
fn start_in_the_past_is_at_once() {
    let mut market = funded("1000");
    let mut spec = spec(Limits::default());
    spec.terms.start_at = Some(at(5));

    market.start_run(RUN, Arc::new(spec), at(5)).unwrap();

    assert_eq!(state(&market), RunState::Running);
}

#[test]
fn start_missed_during_a_server_stop_is_made_up() {
    let mut market = scheduled();

    let mut market = Market::load(Policy::default(), stored(market.drain()), at(500));
    assert!(market.drain().steps.is_empty());
    market.tick(at(500));

    assert_eq!(state(&market), RunState::Running);
    // The job timeout is of its work, not of its wait.
    market.tick(at(560));
    assert_eq!(state(&market), RunState::Running);
    market.tick(at(561));
    assert!(market.run(RUN).is_none());
}

#[test]
fn scheduled_run_can_be_aborted_and_never_begins() {
    let mut market = scheduled();

    market.cancel(RUN, "no more".to_owned(), at(1)).unwrap();
    market.tick(at(100));

    assert!(market.run(RUN).is_none());
    assert_eq!(market.drain().steps, []);
    assert_eq!(market.balance(Account::Available(CUSTOMER)), credits("1000"));
}

#[test]
fn run_is_placed_only_in_its_regions() {
    let mut market = funded("1000");
    let mut spec = spec(Limits::default());
    spec.terms.regions = Regions { whitelist: vec!["eu".to_owned()], blacklist: vec![] };
    start_cut(&mut market, RUN, spec, 9, at(0));
    let from = |region: &str| {
        let mut heard = holds(&[]);
        heard.sync.device.region = region.to_owned();
        heard
    };

    hear(&mut market, 0, from("us-east-1"), 0);
    hear(&mut market, 1, from(""), 0);
    let waits = obstacles(&market, 0);
    hear(&mut market, 2, from("eu-central-1"), 0);

    assert_eq!((waits.elsewhere, waits.unfit(), waits.nodes), (2, 2, 2));
    assert_eq!([0, 1, 2].map(|n| leased(&market, n).len()), [0, 0, 3]);
}

#[test]
fn task_that_failed_in_the_only_region_is_tried_there_again() {
    let mut market = funded("1000");
    let mut spec = spec(Limits { task_retries: 3, ..Limits::default() });
    spec.terms.regions.blacklist = vec!["us".to_owned()];
    start_cut(&mut market, RUN, spec, 1, at(0));
    let mut abroad = holds(&[]);
    abroad.sync.device.region = "us-east-1".to_owned();
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 1, abroad, 0);

    hear(&mut market, 0, fails(lease(0, 1)), 1);

    assert_eq!(leased(&market, 0), [lease(0, 2)]);
}

#[test]
fn machine_is_stored_when_it_changes() {
    let mut market = funded("1");
    let mut heard = || {
        let mut heard = holds(&[]);
        heard.sync.device.os = "Linux".to_owned();
        market.sync(node(0), OPERATOR, heard, at(0));
        market.drain().devices.len()
    };

    assert_eq!([heard(), heard()], [1, 0]);
}

#[test]
fn test_run_has_the_first_chunks_and_holds_only_their_cost() {
    let mut market = funded(&cost(60).saturating_mul(TEST_CHUNKS.get().into()).to_string());
    let spec = testing::order(CUSTOMER, &Pipeline { is_test: true, ..pipeline() });
    start_cut(&mut market, RUN, spec, 1_000, at(0));
    hear(&mut market, 0, holds(&[]), 0);
    for index in 0..TEST_CHUNKS.get() {
        hear(&mut market, 0, succeeds(lease(index, 1)), 1);
    }

    let run = market.run(RUN).unwrap();
    assert_eq!(run.phase(), Some(Phase::Assemble));
    assert_eq!(run.counts().total, Some(TEST_CHUNKS.get()));
    assert_eq!(run.counts().found, Some(1_000));
}

#[test]
fn task_that_ended_at_once_has_the_times_of_its_receipt() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);

    hear(&mut market, 0, succeeds(lease(0, 1)), 5);

    let changes = market.drain();
    let done = &changes.tasks[0];
    assert_eq!((done.received_at, done.running_at), (Some(at(4)), Some(at(4))));
}

#[test]
fn attempt_has_its_times_once_it_has_ended() {
    let mut market = processing(1, Limits { task_retries: 1, ..Limits::default() });
    hear(&mut market, 0, holds(&[]), 0);
    let mut idle = holds(&[(lease(0, 1), 0)]);
    idle.sync.holding[0].running_ms = None;
    hear(&mut market, 0, idle, 2);
    market.drain();
    hear(&mut market, 0, holds(&[(lease(0, 1), 1)]), 5);
    hear(&mut market, 0, holds(&[(lease(0, 1), 3)]), 7);
    assert!(market.drain().is_volatile());

    hear(&mut market, 0, fails(lease(0, 1)), 9);

    let changes = market.drain();
    let ended = &changes.attempts[0];
    assert_eq!(
        [ended.leased_at, ended.received_at, ended.running_at, ended.ended_at],
        [0, 2, 4, 9].map(|secs| Some(at(secs)))
    );
    assert!(ended.receipt.is_some() && ended.error.is_some());
    assert_eq!((changes.tasks[0].attempt, changes.tasks[0].received_at), (2, None));
}
