//! Disk: what a package asks for and its input together, never lent twice, and explained.

use super::*;
use crate::data::object_list::{Object, Objects, Place};

/// A market with one run whose package asks for so much disk, and whose chunks are so long.
fn wanting(disk_mib: u32, chunk_mib: u64) -> Market {
    let mut market = funded("1000");
    let mut pipeline = pipeline();
    pipeline.process.needs = pipeline.process.needs.with_disk(disk_mib);
    market.start_run(RUN, Arc::new(testing::order(CUSTOMER, &pipeline)), at(0)).unwrap();
    let place = Place::Source { path: "data".to_owned() };
    let object =
        Object { name: "data".to_owned(), size: 10 * (chunk_mib << 20), place, version: None };
    let objects = Objects::pack(&[object]).unwrap();
    let table = ChunkTable::every(objects, chunk_mib << 20).unwrap();
    market.step_done(RUN, StageNo::new(1), Some(table), at(0));
    market
}

/// A large node that lends so much disk.
fn with(disk_mib: u32) -> CheckedSync {
    let mut heard = holds(&[]);
    heard.sync.capacity = Resources::new(100_000, 100_000).with_disk(disk_mib);
    heard.sync.prefetch = 5;
    heard
}

#[test]
fn disk_is_requested_for_results_and_input_and_not_for_tasks_ahead() {
    let mut market = wanting(100, 50);

    hear(&mut market, 0, with(449), 0);

    assert_eq!(leased(&market, 0).len(), 2);
    assert_eq!(obstacles(&market, 0).busy, 1);
}

#[test]
fn node_with_too_little_disk_gets_no_task_and_is_counted() {
    let mut market = wanting(100, 50);

    hear(&mut market, 0, with(149), 0);

    assert_eq!(leased(&market, 0), []);
    let waits = obstacles(&market, 0);
    assert_eq!((waits.too_little_disk, waits.unfit(), waits.disk_mib), (1, 1, 150));
    hear(&mut market, 0, with(150), 1);
    assert_eq!(leased(&market, 0).len(), 1);
}

#[test]
fn task_returns_its_disk_when_it_ends() {
    let mut market = wanting(100, 50);
    hear(&mut market, 0, with(150), 0);

    let ended = CheckedSync { sync: with(150).sync, ..succeeds(lease(0, 1)) };
    hear(&mut market, 0, ended, 1);

    assert_eq!(leased(&market, 0), [lease(1, 1)]);
}
