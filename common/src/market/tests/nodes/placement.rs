//! Which node gets which task, keeps it, and loses it.

use super::*;

#[test]
fn small_run_spreads_over_all_nodes_before_any_gets_two() {
    let mut market = funded("1000");
    for n in 0..3 {
        hear(&mut market, n, holds(&[]), 0);
    }
    start_cut(&mut market, RUN, spec(Limits::default()), 3, at(0));

    market.dispatch(at(0));

    assert_eq!([0, 1, 2].map(|n| leased(&market, n).len()), [1, 1, 1]);
}

#[test]
fn small_run_spreads_over_nodes_that_have_just_reported_and_those_that_have_not() {
    let mut market = funded("1000");
    for n in 0..4 {
        hear(&mut market, n, holds(&[]), 0);
    }
    market.dispatch(at(1));
    hear(&mut market, 2, holds(&[]), 2);
    start_cut(&mut market, RUN, spec(Limits::default()), 4, at(3));

    market.dispatch(at(3));

    assert_eq!([0, 1, 2, 3].map(|n| leased(&market, n).len()), [1, 1, 1, 1]);
}

#[test]
fn node_that_is_full_for_one_class_is_offered_a_task_of_a_new_one() {
    let mut market = processing(10, Limits::default());
    let mut without_fetching = holds(&[]);
    without_fetching.sync.capacity = Resources::new(2_000, 64_000);
    without_fetching.sync.prefetch = 0;
    hear(&mut market, 0, without_fetching, 0);
    let held = leased(&market, 0).len();
    let mut light = container();
    light.needs = Resources::new(0, 1);
    let light = testing::order(CUSTOMER, &Pipeline { process: light, ..pipeline() });
    let other = RunId::new(Uuid::from_u128(9));
    start_cut(&mut market, other, light, 1, at(1));

    market.dispatch(at(1));

    let runs: Vec<RunId> = leased(&market, 0).iter().map(|lease| lease.task.run).collect();
    assert_eq!((runs.len(), runs.contains(&other)), (held + 1, true));
}

#[test]
fn new_run_is_offered_at_once_to_a_node_too_small_for_the_waiting_tasks() {
    let mut market = funded("1000");
    let mut process = container();
    process.needs = Resources::new(64_000, 64_000);
    let large = testing::order(CUSTOMER, &Pipeline { process, ..pipeline() });
    start_cut(&mut market, RunId::new(Uuid::from_u128(9)), large, 1, at(0));
    hear(&mut market, 0, holds(&[]), 0);
    assert_eq!(leased(&market, 0), []);

    start_cut(&mut market, RUN, spec(Limits::default()), 1, at(1));
    market.dispatch(at(1));

    assert_eq!(leased(&market, 0), [lease(0, 1)]);
}

#[test]
fn node_is_filled_to_its_capacity_and_then_fetches_ahead() {
    let mut market = processing(10, Limits::default());

    hear(&mut market, 0, holds(&[]), 0);

    // Two vCPUs, and one task ahead.
    assert_eq!(leased(&market, 0).len(), 3);
    assert_eq!(obstacles(&market, 0).busy, 1);
}

#[test]
fn leases_of_a_node_are_limited_whatever_its_capacity() {
    let mut market = processing(100_000, Limits::default());
    let mut greedy = holds(&[]);
    greedy.sync.capacity = Resources::new(u32::MAX, u32::MAX);
    greedy.sync.prefetch = u32::MAX;
    market.grant(CUSTOMER, credits("1000000"), "more", at(0)).unwrap();

    hear(&mut market, 0, greedy, 0);

    assert!(market.nodes[&node(0)].leased.len() <= 1_024);
}

#[test]
fn failed_task_goes_to_another_node() {
    let mut market = processing(1, Limits { task_retries: 3, ..Limits::default() });
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 1, holds(&[]), 0);

    hear(&mut market, 0, fails(lease(0, 1)), 1);

    assert_eq!(leased(&market, 0), []);
    assert_eq!(leased(&market, 1), [lease(0, 2)]);
}

#[test]
fn task_that_has_failed_everywhere_is_tried_again() {
    let mut market = processing(1, Limits { task_retries: 3, ..Limits::default() });
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 1, holds(&[]), 0);
    hear(&mut market, 0, fails(lease(0, 1)), 1);
    hear(&mut market, 1, fails(lease(0, 2)), 2);
    assert_eq!(leased(&market, 0), [], "not at once");
    hear(&mut market, 0, holds(&[]), 3);

    assert_eq!(tasks(&market).active[&0].tries.attempt, 3);
}

#[test]
fn task_that_nodes_lose_too_often_ends_the_run() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    for incarnation in 2..=u64::from(Policy::default().losses_max) {
        let secs = i64::try_from(incarnation).unwrap() * 100;
        for secs in [secs, secs + 70] {
            let mut restarted = holds(&[]);
            restarted.sync.incarnation = incarnation;
            hear(&mut market, 0, restarted, secs);
        }
        assert_eq!(leased(&market, 0).len(), 1);
    }

    hear(&mut market, 0, holds(&[]), 1000);

    assert!(market.run(RUN).is_none());
}

#[test]
fn faults_in_a_row_set_a_node_aside_for_a_while() {
    let mut market = processing(9, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    for lease in leased(&market, 0) {
        market.sync(node(0), OPERATOR, faults(lease), at(1));
    }
    market.dispatch(at(1));

    assert_eq!(leased(&market, 0), []);
    assert_eq!(obstacles(&market, 1).aside, 1);
    hear(&mut market, 0, holds(&[]), 62);
    assert_eq!(leased(&market, 0).len(), 3);
}

#[test]
fn task_past_its_timeout_is_taken_from_a_node_that_does_not_end_it() {
    let mut market = processing(1, Limits { task_timeout_secs: 5, ..Limits::default() });
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, holds(&[(lease(0, 1), 1)]), 1);
    hear(&mut market, 0, holds(&[(lease(0, 1), 29)]), 29);

    market.tick(at(36));

    assert_eq!(leased(&market, 0), []);
}

#[test]
fn orders_are_repeated_until_listed_and_cancelled_on_a_foreign_node() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    for _ in 0..2 {
        let Some(Orders::Work { assign, works, .. }) = market.orders(node(0), vec![]) else {
            panic!("there is work");
        };
        assert_eq!((assign[0].lease, works.len()), (lease(0, 1), 1));
    }

    hear(&mut market, 0, holds(&[(lease(0, 1), 1), (lease(7, 1), 1)]), 1);

    let Some(Orders::Work { assign, cancel, .. }) = market.orders(node(0), vec![]) else {
        panic!("there is something to cancel");
    };
    assert_eq!((assign.len(), cancel), (0, vec![lease(7, 1)]));
}

#[test]
fn node_that_restarts_loses_the_tasks_it_does_not_list() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    let mut restarted = holds(&[]);
    restarted.sync.incarnation = 2;

    hear(&mut market, 0, restarted, 1);
    assert_eq!(leased(&market, 0), [lease(0, 2)]);

    // The dead process's last message comes late.
    hear(&mut market, 0, holds(&[(lease(0, 1), 1)]), 2);
    assert_eq!(leased(&market, 0), [lease(0, 2)]);
}

#[test]
fn silent_node_loses_its_tasks_to_others() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 1, holds(&[]), 20);

    market.tick(at(30));
    market.dispatch(at(30));

    assert_eq!(leased(&market, 1), [lease(0, 2)]);
    assert!(market.node(node(0)).is_none());
}

/// Runs of one vCPU each for two customers.
pub(super) fn two_customers() -> (Market, RunId, WorkspaceId) {
    let (other, theirs) = (RunId::new(Uuid::from_u128(9)), WorkspaceId::new(Uuid::from_u128(8)));
    let mut market = processing(50, Limits::default());
    market.grant(theirs, credits("1000"), "gift", at(0)).unwrap();
    let spec = RunSpec { workspace: theirs, ..spec(Limits::default()) };
    start_cut(&mut market, other, spec, 50, at(0));
    (market, other, theirs)
}

pub(super) fn fault_of(market: &mut Market, run: RunId, secs: i64) {
    let mine = leased(market, 0).into_iter().find(|lease| lease.task.run == run).unwrap();
    hear(market, 0, faults(mine), secs);
}

#[test]
fn bad_data_of_one_customer_does_not_set_a_node_aside_for_others() {
    let (mut market, other, theirs) = two_customers();
    hear(&mut market, 0, holds(&[]), 0);

    for secs in 1..=3 {
        fault_of(&mut market, RUN, secs);
    }

    let node = &market.nodes[&node(0)];
    assert!(node.is_aside(CUSTOMER, at(4)) && !node.is_aside(theirs, at(4)));
    assert_eq!(obstacles(&market, 4).aside, 1);
    hear(&mut market, 0, holds(&[]), 4);
    let of_other = leased(&market, 0).iter().filter(|lease| lease.task.run == other).count();
    assert_eq!((leased(&market, 0).len(), of_other), (3, 3));
}

#[test]
fn task_that_its_node_never_begins_goes_to_another() {
    let mut market = processing(1, Limits::default());
    let idle = |lease| {
        let mut held = holds(&[(lease, 0)]);
        held.sync.holding[0].running_ms = None;
        held
    };
    hear(&mut market, 0, holds(&[]), 0);
    let start = Policy::default().start.num_seconds();
    for secs in (0..=start).step_by(20) {
        hear(&mut market, 0, idle(lease(0, 1)), secs);
        market.tick(at(secs));
    }
    assert_eq!(leased(&market, 0), [lease(0, 1)]);

    market.tick(at(start + 1));
    hear(&mut market, 1, holds(&[]), start + 1);

    assert_eq!(leased(&market, 1), [lease(0, 2)]);
}

#[test]
fn restart_of_the_server_leaves_long_tasks_on_their_nodes() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, holds(&[(lease(0, 1), 0)]), 1);
    let later = 3 * 3600;

    let mut market = Market::load(Policy::default(), stored(market.drain()), at(later));
    market.tick(at(later));
    hear(&mut market, 0, holds(&[(lease(0, 1), 3_000)]), later + 1);
    market.tick(at(later + 2));

    assert_eq!(leased(&market, 0), [lease(0, 1)]);
}

#[test]
fn orders_stay_readable_in_size_whatever_the_params() {
    let mut market = funded("1000");
    let mut fat = pipeline();
    fat.process.needs = Resources::new(10, 10);
    testing::code_of(&mut fat.process).params.insert("x".to_owned(), "y".repeat(120 << 10).into());
    let fat = testing::order(CUSTOMER, &fat);
    for n in 0..100 {
        let run = RunId::new(Uuid::from_u128(n + 1));
        start_cut(&mut market, run, fat.clone(), 1, at(0));
    }
    hear(&mut market, 0, holds(&[]), 0);
    let mut known = Vec::new();

    while let Some(Orders::Work { works, assign, .. }) = market.orders(node(0), vec![]) {
        let bytes: usize = works.iter().map(|work| work.container.bytes()).sum();
        assert!((1..=5 << 20).contains(&bytes), "{bytes}");
        assert_eq!(assign.len(), works.len());
        known.extend(assign.into_iter().map(|assignment| (assignment.lease, 0)));
        hear(&mut market, 0, holds(&known), 1);
    }

    assert_eq!(known.len(), 100);
}
