//! How much there is, counted as it changes: `hear` compares it with what there is.

use super::*;

#[test]
fn figures_follow_a_run_from_its_start_to_its_end() {
    let mut market = funded("1000");
    let idle = market.figures();
    start_cut(&mut market, RUN, spec(Limits::default()), 3, at(0));
    assert_eq!((market.figures().running, market.figures().tasks_waiting), (1, 3));

    hear(&mut market, 0, holds(&[]), 0);
    let held = leased(&market, 0);
    assert_eq!(market.figures().tasks_waiting, 3 - held.len() as u64);
    assert_eq!(market.figures().credits.held, market.balance(Account::Held(CUSTOMER)).units());
    market.cancel(RUN, "enough".to_owned(), at(1)).unwrap();
    let figures = market.figures();
    assert_eq!((figures.running, figures.ending, figures.tasks_waiting), (0, 1, 0));
    hear(&mut market, 0, holds(&[]), 2);

    let figures = market.figures();
    let spent = figures.credits.pending;
    assert_eq!((figures.ending, figures.credits.held), (0, 0));
    assert_eq!(figures.credits.available + spent, idle.credits.available);
}

#[test]
fn task_within_a_pause_is_not_counted_as_waiting() {
    let mut market = processing(1, Limits { task_retries: 5, ..Limits::default() });
    for _ in 0..2 {
        hear(&mut market, 0, holds(&[]), 0);
        let task = leased(&market, 0)[0];
        hear(&mut market, 0, fails(task), 0);
    }

    assert_eq!((leased(&market, 0), market.figures().tasks_waiting), (vec![], 0));
    market.tick(at(100));

    assert_eq!(market.figures().tasks_waiting, 1);
}

#[test]
fn figures_of_a_loaded_market_are_those_that_were_stored() {
    let mut market = processing(5, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    let before = market.figures();

    let again = Market::load(Policy::default(), stored(market.drain()), at(1));

    assert_eq!(again.figures(), before);
    assert_eq!(again.check(), Ok(()));
}

#[test]
fn receipts_are_counted_by_what_becomes_of_them() {
    let mut market = processing(9, Limits { task_retries: 5, ..Limits::default() });
    hear(&mut market, 0, holds(&[]), 0);
    market.drain();

    let first = leased(&market, 0)[0];
    hear(&mut market, 0, succeeds(first), 1);
    hear(&mut market, 0, succeeds(first), 1);
    let second = leased(&market, 0)[0];
    hear(&mut market, 0, fails(second), 2);
    let third = leased(&market, 0)[0];
    hear(&mut market, 0, faults(third), 3);

    let counted = market.drain().receipts;
    let expected =
        Receipts { accepted: 1, failed: 1, node_fault: 1, outdated: 1, ..Receipts::default() };
    assert_eq!(counted, expected);
    assert_eq!(market.drain().receipts, Receipts::default());
}
