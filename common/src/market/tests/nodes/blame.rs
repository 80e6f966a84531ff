//! Who bears an attempt without a result, and when its task is tried again.

use super::*;

const OTHER: WorkspaceId = WorkspaceId::new(Uuid::from_u128(33));

fn told(lease: Lease, failure: Failure, message: &str) -> CheckedSync {
    let usage = Usage::full(container().needs, 1000);
    ends(lease, Outcome::Failed { failure, message: message.to_owned() }, usage)
}

fn killed(lease: Lease) -> CheckedSync {
    told(lease, Failure::Killed, "the container was ended by SIGKILL (signal 9)")
}

fn hear_of(market: &mut Market, n: u128, operator: WorkspaceId, heard: CheckedSync, secs: i64) {
    market.sync(node(n), operator, heard, at(secs));
    market.dispatch(at(secs));
    assert_eq!(market.check(), Ok(()));
}

fn trouble(market: &Market) -> String {
    let trouble = market.run(RUN).unwrap().progress().trouble;
    trouble.map_or_else(String::new, |trouble| trouble.to_string())
}

/// A run of one chunk on two nodes, the first of which has it.
fn on_two_nodes() -> Market {
    let mut market = processing(1, Limits::default());
    market.trust(OTHER);
    hear_of(&mut market, 0, OPERATOR, holds(&[]), 0);
    hear_of(&mut market, 1, OTHER, holds(&[]), 0);
    assert_eq!(leased(&market, 0), [lease(0, 1)]);
    market
}

#[test]
fn container_killed_from_outside_is_free_and_moves_to_another_node() {
    let mut market = on_two_nodes();

    hear_of(&mut market, 0, OPERATOR, killed(lease(0, 1)), 5);

    assert_eq!(leased(&market, 1), [lease(0, 2)]);
    assert!(trouble(&market).contains("SIGKILL"), "{}", trouble(&market));
    hear_of(&mut market, 1, OTHER, succeeds(lease(0, 2)), 9);
    assert_eq!(market.run(RUN).unwrap().phase(), Some(Phase::Assemble));
    assert_eq!(trouble(&market), "");
    assert_eq!(market.pending(OPERATOR), Credits::ZERO);
}

#[test]
fn container_killed_on_nodes_of_two_operators_is_at_fault() {
    let mut market = on_two_nodes();
    hear_of(&mut market, 0, OPERATOR, killed(lease(0, 1)), 5);

    hear_of(&mut market, 1, OTHER, killed(lease(0, 2)), 9);

    let ended = market.drain().runs.pop().unwrap();
    let error = ended.error().unwrap();
    assert!(error.starts_with("chunk 0 failed: its container was killed from outside"), "{error}");
    assert!(market.pending(OTHER) > Credits::ZERO, "it used what it used");
}

#[test]
fn container_killed_on_the_only_node_has_limited_attempts() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    for attempt in 1..=3 {
        let secs = i64::from(attempt) * 10;
        assert_eq!(leased(&market, 0), [lease(0, attempt)]);
        hear(&mut market, 0, killed(lease(0, attempt)), secs);
        hear(&mut market, 0, holds(&[]), secs + 9);
    }

    assert!(market.run(RUN).is_none());
}

#[test]
fn node_that_kills_tasks_that_succeed_elsewhere_is_set_aside() {
    let mut market = processing(9, Limits::default());
    market.trust(OTHER);
    let small = || {
        let mut heard = holds(&[]);
        heard.sync.capacity = Resources::new(1000, 1024);
        heard.sync.prefetch = 0;
        heard
    };
    let as_small = |heard: CheckedSync| CheckedSync { receipts: heard.receipts, ..small() };
    hear_of(&mut market, 0, OPERATOR, small(), 0);
    for secs in 1..=3 {
        let lost = leased(&market, 0)[0];
        hear_of(&mut market, 0, OPERATOR, as_small(killed(lost)), secs);
        hear_of(&mut market, 1, OTHER, small(), secs);
        while let Some(held) = leased(&market, 1).first().copied() {
            let done = held.task.index == lost.task.index;
            hear_of(&mut market, 1, OTHER, as_small(succeeds(held)), secs);
            if done {
                break;
            }
        }
    }

    assert!(market.nodes[&node(0)].is_aside(CUSTOMER, at(4)));
    assert!(!market.nodes[&node(1)].is_aside(CUSTOMER, at(4)));
}

#[test]
fn task_with_a_failing_source_waits_longer_each_time_and_holds_no_place() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    let (mut now, mut waits) = (60, Vec::new());
    for attempt in 1..=3 {
        let failed = told(lease(0, attempt), Failure::Source, "the bucket answered 503");
        hear(&mut market, 0, failed, now);
        assert_eq!(leased(&market, 0), [], "it holds no place");
        let Some(Waiting::Retry(then)) = market.waiting(RUN, at(now)) else {
            panic!("{:?}", market.waiting(RUN, at(now)))
        };
        assert!(trouble(&market).contains("the bucket answered 503"), "{}", trouble(&market));
        waits.push(then - at(now));
        now += 60;
        hear(&mut market, 0, holds(&[]), now);
        assert_eq!(leased(&market, 0), [lease(0, attempt + 1)]);
    }

    assert!(waits.is_sorted() && waits[0] >= TimeDelta::seconds(5), "{waits:?}");
    assert!(!market.nodes[&node(0)].is_aside(CUSTOMER, at(now)), "no node is at fault");
    assert_eq!(market.pending(OPERATOR), Credits::ZERO);
}

#[test]
fn input_refused_permanently_ends_the_run_at_once() {
    let mut market = on_two_nodes();

    let refused = "the object \"in/a\": the bucket answered 403 Forbidden (InvalidObjectState)";
    hear_of(&mut market, 0, OPERATOR, told(lease(0, 1), Failure::Input, refused), 1);

    let error = market.drain().runs.pop().unwrap().cause.unwrap().message;
    assert!(error.contains("its input cannot be read") && error.contains(refused), "{error}");
}

#[test]
fn reason_of_a_waiting_task_is_known_after_a_restart() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, told(lease(0, 1), Failure::Source, "no route"), 1);

    let again = Market::load(Policy::default(), stored(market.drain()), at(2));

    assert_eq!(again.check(), Ok(()));
    assert!(trouble(&again).contains("no route"), "{}", trouble(&again));
}

#[test]
fn exit_by_a_signal_names_it() {
    let mut market = on_two_nodes();

    hear_of(&mut market, 0, OPERATOR, told(lease(0, 1), Failure::ExitCode(139), ""), 1);

    let error = market.drain().runs.pop().unwrap().cause.unwrap().message;
    assert_eq!(error, "chunk 0 failed: it was ended by SIGSEGV (signal 11)");
}

#[test]
fn tasks_on_silent_nodes_are_reported_before_their_leases_end() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, holds(&[(lease(0, 1), 1)]), 1);

    assert_eq!(market.waiting(RUN, at(10)), None);
    assert_eq!(
        market.waiting(RUN, at(20)),
        Some(Waiting::Unheard { tasks: 1, of: 1, nodes: [node(0)].into_iter().collect() })
    );
}

#[test]
fn silent_nodes_are_still_reported() {
    let mut market = funded("1000");
    hear(&mut market, 0, holds(&[]), 0);
    market.tick(at(60));
    start_cut(&mut market, RUN, spec(Limits::default()), 1, at(60));
    market.dispatch(at(61));

    let found = obstacles(&market, 61);
    assert_eq!((found.nodes, found.silent), (1, [node(0)].into_iter().collect()));

    hear(&mut market, 0, holds(&[]), 62);
    market.tick(at(62));
    assert!(market.gone.is_empty());
}

#[test]
fn nodes_waiting_for_the_servers_bucket_are_reported() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    let mut stuck = holds(&[(lease(0, 1), 1)]);
    stuck.sync.holding[0].waits_for_bucket = true;

    hear(&mut market, 0, stuck, 1);

    assert_eq!(market.waiting(RUN, at(1)), Some(Waiting::Bucket { nodes: 1, of: 1 }));
    hear(&mut market, 0, holds(&[(lease(0, 1), 2)]), 2);
    assert_eq!(market.waiting(RUN, at(2)), None);
}

#[test]
fn bucket_outage_reported_by_a_node_is_shown_before_the_nodes_silence() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    let mut stuck = holds(&[(lease(0, 1), 1)]);
    stuck.sync.holding[0].waits_for_bucket = true;

    hear(&mut market, 0, stuck, 1);

    // It has not been heard for half a lease, and then for a whole one.
    assert_eq!(market.waiting(RUN, at(20)), Some(Waiting::Bucket { nodes: 1, of: 1 }));
    let nodes = [node(0)].into_iter().collect();
    assert_eq!(market.waiting(RUN, at(40)), Some(Waiting::Unheard { tasks: 1, of: 1, nodes }));
}

#[test]
fn nodes_waiting_for_the_servers_bucket_are_reported_where_more_tasks_wait() {
    let mut market = processing(50, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    let mut stuck = holds(&[(lease(0, 1), 1)]);
    stuck.sync.holding[0].waits_for_bucket = true;

    hear(&mut market, 0, stuck, 1);

    let found = obstacles(&market, 1);
    assert_eq!((found.nodes, found.busy, found.at_bucket), (1, 1, 1));
}

/// Takes the task of a one-chunk run again and again, and says each time that the server gives it
/// nothing. Gives the hour in which the run ended, if it did within a day.
fn starved(market: &mut Market) -> Option<i64> {
    let mut attempt = 1;
    for secs in (0..24 * 3_600).step_by(20) {
        hear(market, 0, holds(&[]), secs);
        market.tick(at(secs));
        if market.run(RUN).is_none() {
            return Some(secs / 3_600);
        }
        if leased(market, 0) == [lease(0, attempt)] {
            hear(market, 0, told(lease(0, attempt), Failure::Platform, "no bucket"), secs + 1);
            attempt += 1;
        }
    }
    assert!(attempt > 100, "it is tried again all the time: {attempt}");
    None
}

#[test]
fn outage_reported_by_a_proven_node_ends_no_run() {
    let mut market = processing(1, Limits::default());

    assert_eq!(starved(&mut market), None);

    let now = 25 * 3_600;
    hear(&mut market, 0, holds(&[]), now);
    market.tick(at(now));
    let held = leased(&market, 0);
    hear(&mut market, 0, succeeds(held[0]), now + 5);
    assert_eq!(market.run(RUN).unwrap().phase(), Some(Phase::Assemble));
}

#[test]
fn outage_reported_only_by_an_unproven_node_ends_a_run_after_hours() {
    let mut market = Market::load(Policy::default(), Stored::default(), at(0));
    market.grant(CUSTOMER, credits("1000"), "gift", at(0)).unwrap();
    market.start_run(RUN, Arc::new(spec(Limits::default())), at(0)).unwrap();
    do_steps(&mut market, RUN, 1, at(0));

    let hour = starved(&mut market).unwrap();

    assert!((7..=9).contains(&hour), "{hour}");
    let error = market.drain().runs.pop().unwrap().cause.unwrap().message;
    assert!(error.contains("was lost 8 times"), "{error}");
}
