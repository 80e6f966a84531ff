//! Runs that are cancelled: over for their customer at once, and for good once nodes have stopped.

use super::*;

fn states(changes: &Changes) -> Vec<RunState> {
    changes.runs.iter().map(|run| run.state).collect()
}

/// A run of which one node runs a task, cancelled at the tenth second.
fn cancelled() -> Market {
    let mut market = processing(3, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    market.drain();
    market.cancel(RUN, "enough".to_owned(), at(10)).unwrap();
    market
}

#[test]
fn cancelled_run_ends_once_its_node_holds_nothing_of_it() {
    let mut market = cancelled();
    let ended = market.drain();
    assert_eq!(states(&ended), [RunState::Ending]);
    assert_eq!(ended.runs[0].held, Credits::ZERO, "its money is settled");
    assert_eq!(market.balance(Account::Held(CUSTOMER)), Credits::ZERO);

    hear(&mut market, 0, holds(&[(lease(0, 1), 11)]), 11);
    assert_eq!(states(&market.drain()), []);
    hear(&mut market, 0, holds(&[]), 12);

    let changes = market.drain();
    assert_eq!(states(&changes), [RunState::Cancelled]);
    assert_eq!(changes.ended, [Ended { run: RUN, state: RunState::Cancelled }]);
    assert!(changes.transfers.is_empty() && changes.lines.is_empty());
    assert_eq!(market.stopping().count(), 0);
}

#[test]
fn cancelled_run_waits_for_a_node_that_holds_an_attempt_that_it_has_lost() {
    let mut market = processing(1, Limits { task_timeout_secs: 20, ..Limits::default() });
    hear(&mut market, 0, holds(&[]), 0);
    let last = 60;
    for secs in (0..=last).step_by(10) {
        let ran = u64::try_from(secs).unwrap() * 1000;
        hear(&mut market, 0, holds(&[(lease(0, 1), ran)]), secs);
        market.tick(at(secs));
    }
    assert!(market.run(RUN).unwrap().active_lease(lease(0, 1)).is_none(), "it is lost");
    market.drain();

    market.cancel(RUN, "enough".to_owned(), at(last)).unwrap();
    assert_eq!(states(&market.drain()), [RunState::Ending]);
    hear(&mut market, 0, holds(&[]), last + 1);

    assert_eq!(states(&market.drain()), [RunState::Cancelled]);
}

#[test]
fn cancelled_run_is_not_ended_by_a_message_that_another_has_overtaken() {
    let numbered =
        |number, sync: CheckedSync| CheckedSync { sync: Sync { number, ..sync.sync }, ..sync };
    let mut market = cancelled();
    hear(&mut market, 0, numbered(2, holds(&[(lease(0, 1), 11)])), 11);
    market.drain();

    // It was sent before the node had the task.
    hear(&mut market, 0, numbered(1, holds(&[])), 12);
    assert_eq!(states(&market.drain()), []);
    hear(&mut market, 0, numbered(3, holds(&[])), 13);

    assert_eq!(states(&market.drain()), [RunState::Cancelled]);
}

#[test]
fn cancelled_run_without_tasks_on_nodes_ends_at_once() {
    let mut market = processing(3, Limits::default());
    market.drain();

    market.cancel(RUN, "enough".to_owned(), at(1)).unwrap();

    assert_eq!(states(&market.drain()), [RunState::Cancelled]);
    assert_eq!(market.cancel(RUN, "again".to_owned(), at(2)), Err(Refused::NoRun));
}

#[test]
fn cancelled_run_does_not_wait_for_a_node_that_is_silent() {
    let mut market = cancelled();
    market.drain();

    market.tick(at(29));
    assert_eq!(states(&market.drain()), []);
    market.tick(at(31));

    assert_eq!(states(&market.drain()), [RunState::Cancelled]);
}

#[test]
fn cancelled_run_waits_a_limited_time_for_a_node_that_goes_on() {
    let mut market = cancelled();
    let stop = market.policy.stop.num_seconds();
    market.drain();
    for secs in (11..10 + stop).step_by(10) {
        hear(&mut market, 0, holds(&[(lease(0, 1), 1)]), secs);
        market.tick(at(secs));
        assert_eq!(states(&market.drain()), [], "{secs}");
    }

    market.tick(at(10 + stop));

    assert_eq!(states(&market.drain()), [RunState::Cancelled]);
}

#[test]
fn cancelled_run_is_waited_for_again_after_a_restart() {
    let mut market = processing(3, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    market.cancel(RUN, "enough".to_owned(), at(10)).unwrap();
    let found = stored(market.drain());
    assert_eq!((found.runs.len(), found.stopping.len()), (0, 1));

    let mut market = Market::load(Policy::default(), found, at(20));
    hear(&mut market, 0, holds(&[(lease(0, 1), 20)]), 21);
    market.tick(at(40));
    assert_eq!(states(&market.drain()), []);
    hear(&mut market, 0, holds(&[]), 41);
    market.tick(at(51));

    assert_eq!(states(&market.drain()), [RunState::Cancelled]);
}
