//! Nodes that fail: set aside for whom, and what a probe changes.

use super::placement::{fault_of, two_customers};
use super::*;
use crate::protocol::Probe;

fn says(probe: Option<Probe>) -> CheckedSync {
    let mut heard = holds(&[]);
    heard.sync.probe = probe;
    heard
}

fn is_asked(market: &Market) -> bool {
    matches!(market.orders(node(0), vec![]), Some(Orders::Work { probe: true, .. }))
}

/// A node that has failed the tasks of two customers in turn.
fn suspect() -> (Market, WorkspaceId) {
    let (mut market, other, theirs) = two_customers();
    hear(&mut market, 0, holds(&[]), 0);
    for (secs, run) in [(1, RUN), (2, other), (3, RUN)] {
        fault_of(&mut market, run, secs);
    }
    (market, theirs)
}

#[test]
fn faults_with_several_customers_request_a_probe_and_set_no_node_aside() {
    let (mut market, theirs) = suspect();

    assert!(is_asked(&market));
    let healthy = &market.nodes[&node(0)];
    assert!(!healthy.is_aside(CUSTOMER, at(4)) && !healthy.is_aside(theirs, at(4)));
    hear(&mut market, 0, says(Some(Probe::Running)), 4);
    assert!(!is_asked(&market), "it is under way");
    hear(&mut market, 0, says(Some(Probe::Passed)), 5);
    market.tick(at(20));
    assert!(!is_asked(&market) && !market.nodes[&node(0)].is_aside(CUSTOMER, at(20)));
}

#[test]
fn hostile_customers_set_a_node_aside_for_themselves_only() {
    let (mut market, other, theirs) = two_customers();
    let third = WorkspaceId::new(Uuid::from_u128(77));
    hear(&mut market, 0, holds(&[]), 0);
    for secs in 1..=3 {
        fault_of(&mut market, RUN, secs);
    }
    for secs in 4..=6 {
        fault_of(&mut market, other, secs);
    }

    let node = &market.nodes[&node(0)];
    assert!(node.is_aside(CUSTOMER, at(7)) && node.is_aside(theirs, at(7)));
    assert!(!node.is_aside(third, at(7)) && node.health.wants_probe());
}

#[test]
fn failed_probe_sets_a_node_aside_for_all_until_it_passes_one() {
    let (mut market, theirs) = suspect();
    let failed = || says(Some(Probe::Failed { message: String::new() }));
    hear(&mut market, 0, failed(), 4);
    assert!(market.nodes[&node(0)].is_aside(CUSTOMER, at(5)));
    assert!(market.nodes[&node(0)].is_aside(theirs, at(5)));
    assert_eq!(obstacles(&market, 5).failed_probe, 1);
    assert_eq!(obstacles(&market, 5).aside, 0);

    hear(&mut market, 0, holds(&[]), 60);
    market.tick(at(64));
    assert!(is_asked(&market), "it is asked again");
    hear(&mut market, 0, says(Some(Probe::Running)), 64);
    assert!(market.nodes[&node(0)].is_aside(theirs, at(64)), "and is not trusted before it passes");
    hear(&mut market, 0, says(Some(Probe::Passed)), 65);

    assert!(!market.nodes[&node(0)].is_aside(theirs, at(65)));
}

#[test]
fn probe_without_an_answer_in_time_is_failed() {
    let (mut market, theirs) = suspect();
    for secs in (10..=70).step_by(10) {
        hear(&mut market, 0, says(Some(Probe::Running)), secs);
        market.tick(at(secs));
    }

    assert!(market.nodes[&node(0)].is_aside(theirs, at(70)));
}

#[test]
fn unrequested_probe_changes_nothing() {
    let mut market = processing(9, Limits::default());

    hear(&mut market, 0, says(Some(Probe::Failed { message: String::new() })), 0);

    assert!(!market.nodes[&node(0)].is_aside(CUSTOMER, at(1)));
    assert_eq!(leased(&market, 0).len(), 3);
}

#[test]
fn node_without_its_engine_gets_no_task_and_is_not_counted_as_too_small() {
    let mut market = processing(9, Limits::default());
    let says_away = |engine_away| {
        let mut heard = holds(&[]);
        heard.sync.engine_away = engine_away;
        heard
    };

    hear(&mut market, 0, says_away(true), 0);

    assert!(leased(&market, 0).is_empty());
    let found = obstacles(&market, 1);
    assert_eq!((found.nodes, found.engine_away, found.unfit()), (1, 1, 0));
    assert!(market.waiting(RUN, at(1)).is_some_and(|waiting| waiting.is_explained()));
    let view = market.nodes_of(&[node(0)], at(1)).remove(0).live.unwrap();
    assert_eq!(view.idle, Some(Idle::EngineAway));
    assert_eq!(view.capacity, testing::sync().capacity, "it lends what it did");
    hear(&mut market, 0, says_away(false), 2);
    assert_eq!(leased(&market, 0).len(), 3);
}
