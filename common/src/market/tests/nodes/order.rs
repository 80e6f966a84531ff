//! Who gets capacity when there is too little.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::run::scheduling::Priority;

const CHEAP: RunId = RunId::new(Uuid::from_u128(11));
const BALANCED: RunId = RunId::new(Uuid::from_u128(12));
const FAST: RunId = RunId::new(Uuid::from_u128(13));

fn begin(market: &mut Market, run: RunId, priority: Priority, chunks: u32) {
    let mut spec = spec(Limits::default());
    spec.terms.priority = priority;
    start_cut(market, run, spec, chunks, at(0));
}

/// One node that runs this many tasks at a time and fetches none ahead.
fn with_slots(slots: u32) -> CheckedSync {
    let mut heard = holds(&[]);
    heard.sync.capacity = Resources::new(slots * 1000, slots * 1024);
    heard.sync.prefetch = 0;
    heard
}

/// A market in which three runs of all weights have more to do than can be done.
fn crowded() -> Market {
    let mut market = funded("100000000");
    begin(&mut market, CHEAP, Priority::Cheap, 100_000);
    begin(&mut market, BALANCED, Priority::Undefined, 100_000);
    begin(&mut market, FAST, Priority::Fast, 100_000);
    market
}

fn running(market: &Market, run: RunId) -> usize {
    market.run(run).unwrap().running() as usize
}

/// Ends the task that runs longest, so that the next gets its place.
fn next(market: &mut Market, slots: u32, running: &mut VecDeque<Lease>) {
    let mut report = succeeds(running.pop_front().unwrap());
    report.sync = with_slots(slots).sync;
    hear(market, 0, report, 1);
    let fresh: Vec<_> =
        leased(market, 0).into_iter().filter(|lease| !running.contains(lease)).collect();
    running.extend(fresh);
}

#[test]
fn running_tasks_are_shared_out_by_priority() {
    let mut market = crowded();

    hear(&mut market, 0, with_slots(70), 0);

    assert_eq!([FAST, BALANCED, CHEAP].map(|run| running(&market, run)), [40, 20, 10]);
}

#[test]
fn run_alone_gets_everything_whatever_its_priority() {
    let mut market = funded("100000");
    begin(&mut market, CHEAP, Priority::Cheap, 100);

    hear(&mut market, 0, with_slots(50), 0);

    assert_eq!(running(&market, CHEAP), 50);
}

#[test]
fn urgent_runs_starve_no_other_run() {
    let mut market = funded("100000");
    begin(&mut market, FAST, Priority::Fast, 1);
    hear(&mut market, 0, with_slots(1), 0);
    let mut held: VecDeque<_> = leased(&market, 0).into();
    begin(&mut market, CHEAP, Priority::Cheap, 100);

    // A newcomer for each task that can be done.
    for n in 0..100 {
        begin(&mut market, RunId::new(Uuid::from_u128(100 + n)), Priority::Fast, 1);
        next(&mut market, 1, &mut held);
    }

    let cheap = market.run(CHEAP).unwrap().counts().done;
    assert!(cheap >= 5, "{cheap}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn slots_are_shared_over_time_where_they_are_few(slots in 1..12u32) {
        let mut market = crowded();
        hear(&mut market, 0, with_slots(slots), 0);
        let mut held: VecDeque<_> = leased(&market, 0).into();

        for _ in 0..700 {
            next(&mut market, slots, &mut held);
        }

        let done = [FAST, BALANCED, CHEAP].map(|run| market.run(run).unwrap().counts().done);
        for (share, fair) in done.into_iter().zip([400u32, 200, 100]) {
            prop_assert!((fair * 3 / 4..=fair * 5 / 4).contains(&share), "{slots}: {done:?}");
        }
    }
}
