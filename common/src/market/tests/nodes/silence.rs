//! Nodes that are not heard, and a server that was away itself.

use super::*;

/// A node so small that it has room for one task.
fn small(held: &[(Lease, u64)]) -> CheckedSync {
    let mut heard = holds(held);
    heard.sync.capacity = Resources::new(1000, 1024);
    heard.sync.prefetch = 0;
    heard
}

fn tick(market: &mut Market, secs: i64) {
    market.tick(at(secs));
    market.dispatch(at(secs));
    assert_eq!(market.check(), Ok(()));
}

#[test]
fn silence_of_all_nodes_loses_no_finished_work() {
    let mut market = processing(2, Limits { task_timeout_secs: 60, ..Limits::default() });
    hear(&mut market, 0, small(&[]), 0);
    hear(&mut market, 1, small(&[]), 0);
    hear(&mut market, 0, small(&[(lease(0, 1), 1)]), 1);
    let bound = market.run(RUN).unwrap().held();
    for secs in (2..8_000).step_by(50) {
        tick(&mut market, secs);
    }
    assert_eq!(
        market.waiting(RUN, at(8_000)),
        Some(Waiting::Unheard { tasks: 2, of: 2, nodes: [node(0), node(1)].into_iter().collect() })
    );
    assert!(market.run(RUN).unwrap().held() <= bound);

    market.sync(node(0), OPERATOR, succeeds(lease(0, 1)), at(8_001));
    market.sync(node(1), OPERATOR, succeeds(lease(1, 1)), at(8_001));

    assert_eq!(market.run(RUN).unwrap().progress().chunks_done, 2);
    assert_eq!(market.pending(OPERATOR), cost(2));
    assert_eq!(market.check(), Ok(()));
}

#[test]
fn tasks_of_a_silent_node_go_to_a_returning_node_and_count_once() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    tick(&mut market, 31);
    assert_eq!(leased(&market, 0), [lease(0, 1)]);

    hear(&mut market, 1, holds(&[]), 40);
    tick(&mut market, 41);
    assert_eq!(leased(&market, 1), [lease(0, 2)]);
    hear(&mut market, 0, succeeds(lease(0, 1)), 42);
    assert_eq!(market.pending(OPERATOR), Credits::ZERO);
    hear(&mut market, 1, succeeds(lease(0, 2)), 43);

    assert_eq!(market.pending(OPERATOR), cost(1));
}

#[test]
fn tasks_of_a_silent_node_stay_for_a_limited_time_while_others_are_full() {
    let mut market = processing(3, Limits::default());
    hear(&mut market, 0, small(&[]), 0);
    let busy = |market: &mut Market, secs| hear(market, 1, small(&[(lease(1, 1), 0)]), secs);
    hear(&mut market, 1, small(&[]), 0);
    for secs in [20, 40, 60, 80, 100, 120, 140] {
        busy(&mut market, secs);
        tick(&mut market, secs + 5);
        assert_eq!(leased(&market, 0), [lease(0, 1)], "{secs}");
    }

    busy(&mut market, 160);
    tick(&mut market, 165);

    assert!(market.node(node(0)).is_none());
    assert_eq!(market.run(RUN).unwrap().progress().tasks_running, 1);
}

#[test]
fn silence_of_some_nodes_is_counted_among_the_tasks_under_way() {
    let mut market = processing(2, Limits::default());
    hear(&mut market, 0, small(&[]), 0);
    hear(&mut market, 1, small(&[]), 0);
    for secs in [10, 20, 30] {
        hear(&mut market, 1, small(&[(lease(1, 1), 5)]), secs);
    }

    assert_eq!(
        market.waiting(RUN, at(31)),
        Some(Waiting::Unheard { tasks: 1, of: 2, nodes: [node(0)].into_iter().collect() })
    );
}

#[test]
fn silence_during_a_server_outage_is_not_counted_against_nodes() {
    let mut market = processing(2, Limits { task_timeout_secs: 5, ..Limits::default() });
    hear(&mut market, 0, small(&[]), 0);
    hear(&mut market, 1, small(&[]), 0);
    hear(&mut market, 0, small(&[(lease(0, 1), 1)]), 1);
    hear(&mut market, 0, small(&[(lease(0, 1), 2)]), 2);
    let hour = 3_600;

    market.was_away(TimeDelta::seconds(hour), at(hour + 2));
    tick(&mut market, hour + 2);
    // One of them is there at once, and is given nothing of the other's.
    hear(&mut market, 1, small(&[(lease(1, 1), 1)]), hour + 3);
    tick(&mut market, hour + 4);

    assert_eq!(leased(&market, 0), [lease(0, 1)]);
    hear(&mut market, 0, succeeds(lease(0, 1)), hour + 5);
    assert_eq!(market.run(RUN).unwrap().progress().chunks_done, 1);
}

#[test]
fn silence_of_all_nodes_ends_for_the_last_as_for_the_first() {
    let mut market = processing(2, Limits::default());
    hear(&mut market, 0, small(&[]), 0);
    hear(&mut market, 1, small(&[]), 0);
    tick(&mut market, 3_600);

    // The first has room again at once, and the second has not dialled yet.
    hear(&mut market, 0, succeeds(lease(0, 1)), 3_601);
    tick(&mut market, 3_602);
    hear(&mut market, 0, small(&[]), 3_610);
    tick(&mut market, 3_611);
    hear(&mut market, 1, succeeds(lease(1, 1)), 3_612);

    assert_eq!(market.run(RUN).unwrap().progress().chunks_done, 2);
}

#[test]
fn silence_that_continues_after_others_return_ends_with_a_lease() {
    let mut market = processing(2, Limits::default());
    hear(&mut market, 0, small(&[]), 0);
    hear(&mut market, 1, small(&[]), 0);
    tick(&mut market, 3_600);
    hear(&mut market, 0, succeeds(lease(0, 1)), 3_601);

    for secs in [3_610, 3_620, 3_630, 3_640] {
        hear(&mut market, 0, small(&[]), secs);
        tick(&mut market, secs + 1);
    }

    assert_eq!(leased(&market, 0), [lease(1, 2)]);
}
