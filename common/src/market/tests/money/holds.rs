//! What is held: the reservations of tasks that run, whatever the number of chunks.

use super::*;

fn start(market: &mut Market, run: RunId, chunks: u32) {
    start_cut(market, run, spec(Limits::default()), chunks, at(0));
}

fn held(market: &Market, run: RunId) -> Credits {
    market.run(run).map_or(Credits::ZERO, Run::held)
}

/// A node that takes one task at a time.
fn small(held: &[(Lease, u64)]) -> CheckedSync {
    let mut heard = holds(held);
    heard.sync.capacity = Resources::new(1000, 1024);
    heard.sync.prefetch = 0;
    heard
}

/// The node does the one task that it has.
fn does(market: &mut Market, secs: i64) {
    let task = leased(market, 0)[0];
    hear(market, 0, small(&[(task, 1)]), secs);
    let mut heard = succeeds(task);
    heard.sync = small(&[]).sync;
    hear(market, 0, heard, secs + 1);
}

#[test]
fn wallet_that_covers_a_run_pays_for_it_whatever_its_number_of_chunks() {
    // The chunks cost 0.14 in all; a minute of each would be 8.
    let mut market = funded("0.2");
    start(&mut market, RUN, 500);
    assert_eq!(held(&market, RUN), cost(60));
    hear(&mut market, 0, small(&[]), 0);

    for n in 0..500 {
        does(&mut market, 2 * n);
        market.tick(at(2 * n + 1));
        assert!(held(&market, RUN) <= cost(60).saturating_mul(3), "{}", held(&market, RUN));
    }

    assert_eq!(market.run(RUN).unwrap().phase(), Some(Phase::Assemble));
    assert_eq!(market.pending(OPERATOR), cost(1).saturating_mul(500));
}

#[test]
fn hold_is_reduced_before_the_runs_end_once_it_is_not_needed() {
    let mut market = processing(2, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    assert!(held(&market, RUN) >= cost(60).saturating_mul(2));

    hear(&mut market, 0, holds(&[(lease(0, 1), 1), (lease(1, 1), 1)]), 1);
    hear(&mut market, 0, succeeds(lease(0, 1)), 2);
    market.tick(at(2));
    assert_eq!(held(&market, RUN), cost(60));
    hear(&mut market, 0, succeeds(lease(1, 1)), 3);
    market.tick(at(3));

    // The server folds, which is free.
    assert_eq!(market.run(RUN).unwrap().phase(), Some(Phase::Assemble));
    assert_eq!(market.balance(Account::Held(CUSTOMER)), Credits::ZERO);
    assert_eq!(market.check(), Ok(()));
}

#[test]
fn hold_for_a_custom_assembler_is_kept_until_its_turn() {
    let mut market = funded(&cost(60).saturating_mul(2).to_string());
    let assemble = Assemble::Custom(Box::new(container()));
    let own = testing::order(CUSTOMER, &Pipeline { assemble, ..pipeline() });
    start_cut(&mut market, RUN, own, 2, at(0));
    hear(&mut market, 0, holds(&[]), 0);
    // There is room for both chunks, and money for one beside the assembler.
    assert_eq!(leased(&market, 0), [lease(0, 1)]);
    assert!(obstacles(&market, 0).lacks_credits);

    hear(&mut market, 0, holds(&[(lease(0, 1), 1)]), 1);
    hear(&mut market, 0, succeeds(lease(0, 1)), 2);

    // What it cost is missing now.
    assert!(market.run(RUN).is_none());
    assert_eq!(market.balance(Account::Held(CUSTOMER)), Credits::ZERO);
}

#[test]
fn run_without_money_waits_for_what_other_runs_of_its_wallet_hold() {
    let other = RunId::new(Uuid::from_u128(77));
    let mut market = funded(&cost(60).saturating_mul(2).to_string());
    start(&mut market, RUN, 1);
    start(&mut market, other, 1);
    hear(&mut market, 0, small(&[]), 0);
    let first = leased(&market, 0)[0];
    let (now, later) = if first.task.run == RUN { (RUN, other) } else { (other, RUN) };
    // Its task takes so long that the whole wallet is reserved for it.
    hear(&mut market, 0, small(&[(first, 1)]), 1);
    market.give_back(later, cost(60), at(1));
    hear(&mut market, 0, small(&[(first, 40)]), 40);
    market.tick(at(40));
    assert!(held(&market, now) > cost(60));

    hear(&mut market, 1, small(&[]), 41);
    assert!(market.run(later).is_some(), "it waits");
    assert_eq!((leased(&market, 1), held(&market, later)), (vec![], Credits::ZERO));
    let mut heard = succeeds(first);
    heard.sync = small(&[]).sync;
    hear(&mut market, 0, heard, 42);
    market.tick(at(42));
    market.dispatch(at(42));

    assert_eq!(market.run(later).unwrap().running(), 1);
}

#[test]
fn run_without_money_ends_when_no_hold_can_come_back() {
    let mut market = funded(&cost(60).to_string());
    start(&mut market, RUN, 3);
    hear(&mut market, 0, small(&[]), 0);

    does(&mut market, 0);

    let ended = market.drain().runs.pop().unwrap();
    assert_eq!(ended.state, RunState::Failed);
    assert!(ended.error().unwrap().contains("the wallet cannot pay for its next task"));
    assert_eq!(market.balance(Account::Held(CUSTOMER)), Credits::ZERO);
    assert_eq!(market.drain().lines.len(), 0);
}
