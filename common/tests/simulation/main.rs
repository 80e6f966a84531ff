//! A seeded simulation of the market: nodes die, messages are lost, doubled and late, the server
//! is killed between any two events, and after each step the promises are checked.
//!
//! `SIM_SEEDS=1000` runs this many seeds, `SIM_SEED=7` replays one.

mod customer;
mod donor;
mod queues;
mod random;
mod receiver;
mod server;
mod shape;
mod stopping;
mod store;
mod timetable;
mod world;

use world::{Tally, World};

const SEEDS: u64 = 60;

#[test]
fn market_invariants_hold_under_any_events() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(SEEDS),
    };
    let alone = seeds.end - seeds.start == 1;

    let mut sum = Tally::default();
    for seed in seeds {
        let mut world = World::new(seed);
        if let Err(wrong) = world.run() {
            panic!("SIM_SEED={seed}: {wrong}");
        }
        sum.events += world.tally.events;
        sum.kills += world.tally.kills;
        sum.complete += world.tally.complete;
        sum.failed += world.tally.failed;
        sum.convicted += world.tally.convicted;
        sum.cancelled += world.tally.cancelled;
        sum.restarts_compared += world.tally.restarts_compared;
        sum.again += world.tally.again;
        sum.retried += world.tally.retried;
        sum.calls += world.tally.calls;
        sum.calls_lost += world.tally.calls_lost;
        sum.fired += world.tally.fired;
        sum.skipped += world.tally.skipped;
        sum.omitted += world.tally.omitted;
        sum.values += world.tally.values;
    }

    println!("{sum:?}");
    let is_wild = [
        sum.kills,
        sum.complete,
        sum.failed,
        sum.convicted,
        sum.again,
        sum.retried,
        sum.calls,
        sum.calls_lost,
        sum.fired,
        sum.skipped,
        sum.omitted,
        sum.values,
    ]
    .iter()
    .all(|happened| *happened > 0);
    assert!(alone || is_wild, "too tame: {sum:?}");
}

#[test]
fn silence_of_all_nodes_for_long_loses_no_finished_work() {
    let mut sum = Tally::default();
    for seed in 0..SEEDS {
        let mut world = World::blackout(seed, 3_600);

        if let Err(wrong) = world.run() {
            panic!("seed {seed}: {wrong}");
        }

        assert_eq!(world.tally.losses, 0, "seed {seed}");
        sum.unheard += world.tally.unheard;
        sum.complete += world.tally.complete;
    }
    assert!(sum.unheard > 0 && sum.complete > 0, "too tame: {sum:?}");
}
