//! What becomes of runs that cannot be read after a restart.

use super::*;

/// What a restart finds of a market with one chunk done of three and another leased, where the
/// run's row cannot be read.
fn half_done_and_unreadable() -> (Stored, Unreadable) {
    let mut market = processing(3, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, succeeds(lease(0, 1)), 1);
    let run = market.run(RUN).unwrap();
    let unreadable = Unreadable {
        run: RUN,
        workspace: Some(CUSTOMER),
        job: Some(run.spec.job),
        held: run.held(),
        captured: run.captured(),
        billed: Credits::ZERO,
    };
    assert!(!unreadable.held.is_zero() && !unreadable.captured.is_zero());
    let found = stored(market.drain());
    (Stored { runs: Vec::new(), unreadable: vec![unreadable.clone()], ..found }, unreadable)
}

#[test]
fn unreadable_run_ends_and_its_hold_is_given_back() {
    let (found, unreadable) = half_done_and_unreadable();

    let mut market = Market::load(Policy::default(), found, at(5));

    assert_eq!(market.check(), Ok(()));
    assert_eq!(market.balance(Account::Held(CUSTOMER)), Credits::ZERO);
    let left = credits("1000").checked_sub(unreadable.captured).unwrap();
    assert_eq!(market.balance(Account::Available(CUSTOMER)), left);
    let changes = market.drain();
    assert_eq!(changes.set_aside.len(), 1);
    assert_eq!(
        (changes.set_aside[0].run, changes.set_aside[0].captured),
        (RUN, unreadable.captured)
    );
    assert!(changes.set_aside[0].cause.message.contains("run the job again"));
    assert_eq!(changes.lines.last().unwrap().debit(), Some(unreadable.captured));
    assert!(!changes.is_volatile());
    // The node that holds its task is told to leave it.
    market.sync(node(0), OPERATOR, holds(&[(lease(1, 1), 4)]), at(6));
    assert!(matches!(market.orders(node(0), Vec::new()),
        Some(Orders::Work { cancel, .. }) if cancel == [lease(1, 1)]));
}

#[test]
fn run_without_its_chunks_ends_and_another_goes_on() {
    let mut market = processing(3, Limits::default());
    let other = RunId::new(Uuid::from_u128(9));
    market.start_run(other, Arc::new(spec(Limits::default())), at(0)).unwrap();
    hear(&mut market, 0, holds(&[]), 0);
    let mut changes = market.drain();
    changes.tables.clear();
    let found = stored(changes);

    let mut market = Market::load(Policy::default(), found, at(5));

    assert_eq!(market.check(), Ok(()));
    assert_eq!(market.runs().map(|run| run.id).collect::<Vec<_>>(), [other]);
    assert_eq!(market.drain().ended, [Ended { run: RUN, state: RunState::Failed }]);
}

#[test]
fn run_without_one_of_its_stages_ends() {
    let mut market = processing(3, Limits::default());
    let mut changes = market.drain();
    changes.stages.retain(|stage| stage.no != PROCESS);

    let mut market = Market::load(Policy::default(), stored(changes), at(5));

    assert_eq!(market.check(), Ok(()));
    assert_eq!(market.drain().ended, [Ended { run: RUN, state: RunState::Failed }]);
}

#[test]
fn hold_that_exceeds_the_held_credits_gives_back_what_exists() {
    let (mut found, unreadable) = half_done_and_unreadable();
    found.unreadable[0].held = unreadable.held.saturating_mul(2);

    let market = Market::load(Policy::default(), found, at(5));

    assert_eq!(market.check(), Ok(()));
    assert_eq!(market.balance(Account::Held(CUSTOMER)), Credits::ZERO);
}
