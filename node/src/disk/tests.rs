//! The budget and the floor, with free space as the test says.

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { budget: 1000, keep_free: 100 };

struct Bench {
    disk: Arc<Disk>,
    free: Arc<AtomicU64>,
}

impl Bench {
    fn new() -> Self {
        let free = Arc::new(AtomicU64::new(u64::MAX));
        let disk = Disk::told(&std::env::temp_dir(), LIMITS, Arc::clone(&free)).unwrap();
        Self { disk, free }
    }

    fn set_free(&self, bytes: u64) {
        self.free.store(bytes, Ordering::Relaxed);
    }
}

#[test]
fn budget_is_lent_once_and_returned() {
    let Bench { disk, .. } = Bench::new();

    let first = disk.share(100, 300, 100).unwrap();
    assert!(disk.share(100, 401, 100).is_none());
    let second = disk.share(100, 400, 100).unwrap();
    assert_eq!((disk.excess(100), disk.excess(150)), (0, 50));

    drop((first, second));
    assert!(disk.share(0, 0, 1000).is_some() && !disk.is_shared());
    assert!(disk.share(0, u64::MAX, 1).is_none());
}

#[test]
fn input_that_would_break_the_floor_is_not_begun() {
    let bench = Bench::new();
    bench.set_free(399);

    assert!(bench.disk.share(0, 300, 100).is_none());
    assert!(bench.disk.share(0, 299, 100).is_some());
}

#[test]
fn offer_is_a_part_of_the_budget_and_of_the_free_space() {
    let bench = Bench::new();
    assert_eq!(bench.disk.lends(0), 750);

    bench.set_free(300);
    assert_eq!((bench.disk.lends(0), bench.disk.lends(50)), (200, 250));
    let share = bench.disk.share(0, 100, 0).unwrap();
    share.note(30, Instant::now());
    assert_eq!(bench.disk.lends(0), 330);

    bench.set_free(99);
    assert_eq!(bench.disk.lends(500), 0);
}

/// An instant this many milliseconds after the first.
fn at(begin: Instant, ms: u64) -> Instant {
    begin + Duration::from_millis(ms)
}

#[test]
fn task_that_has_written_most_ends_alone_below_the_floor() {
    let (bench, begin) = (Bench::new(), Instant::now());
    let shares: Vec<_> = (0..3).map(|_| bench.disk.share(0, 0, 200).unwrap()).collect();
    let running: Vec<_> = shares.iter().map(Share::running).collect();
    let floors =
        |free, ms| running.iter().map(|task| task.floor(free, at(begin, ms))).collect::<Vec<_>>();
    for (written, share) in [0, 150, 3].iter().zip(&shares) {
        share.note(*written, begin);
    }
    assert_eq!(floors(100, 0), [Floor::Kept; 3]);

    // What was counted before is no reason to end anybody.
    assert_eq!(floors(99, 1), [Floor::Count; 3]);
    shares[0].note(10, at(begin, 2));
    shares[1].note(20, at(begin, 2));
    assert_eq!(floors(99, 3), [Floor::Wait, Floor::Wait, Floor::Count]);
    shares[2].note(180, at(begin, 4));

    assert_eq!(floors(99, 5), [Floor::Wait, Floor::Wait, Floor::End]);
    assert_eq!(floors(0, 6), [Floor::Wait, Floor::Wait, Floor::End]);
    assert_eq!(floors(100, 7), [Floor::Kept; 3]);
}

#[test]
fn second_task_ends_when_the_first_did_not_free_enough() {
    let (bench, begin) = (Bench::new(), Instant::now());
    let first = bench.disk.share(0, 0, 200).unwrap();
    let second = bench.disk.share(0, 0, 200).unwrap();
    let (one, two) = (first.running(), second.running());

    let asked = (one.floor(0, begin), two.floor(0, begin));
    assert_eq!(asked, (Floor::Count, Floor::Count));
    first.note(2, at(begin, 1));
    second.note(1, at(begin, 1));
    assert_eq!((one.floor(0, at(begin, 2)), two.floor(0, at(begin, 2))), (Floor::End, Floor::Wait));
    drop(one);
    assert_eq!(two.floor(0, at(begin, 3)), Floor::Wait);
    drop(first);

    assert_eq!(two.floor(0, at(begin, 4)), Floor::Count);
    second.note(1, at(begin, 5));
    assert_eq!(two.floor(0, at(begin, 6)), Floor::End);
}

#[test]
fn task_that_does_not_end_does_not_block_cleanup() {
    let (bench, begin) = (Bench::new(), Instant::now());
    let first = bench.disk.share(0, 0, 200).unwrap();
    let second = bench.disk.share(0, 0, 200).unwrap();
    let (one, two) = (first.running(), second.running());
    let ask = |now| {
        first.note(2, now);
        second.note(1, now);
        (one.floor(0, now), two.floor(0, now))
    };
    assert_eq!(ask(begin).0, Floor::End);
    drop(one);

    let later = begin + VICTIM_PATIENCE;
    assert_eq!(two.floor(0, later), Floor::Count);
    second.note(1, later);
    assert_eq!(two.floor(0, later), Floor::End);
}

#[tokio::test]
async fn task_does_not_begin_below_the_floor() {
    let bench = Bench::new();
    bench.set_free(99);

    let mut waiting = std::pin::pin!(bench.disk.above_floor());
    assert!(futures::poll!(&mut waiting).is_pending());
    bench.set_free(100);
    waiting.await.unwrap();
}

proptest! {
    /// In any order of taking and giving back, no more is lent than there is.
    #[test]
    fn lent_disk_never_exceeds_the_free_space(
        steps in proptest::collection::vec((any::<bool>(), 0..600u64, 0..600u64, 0..600u64), 0..40),
    ) {
        let Bench { disk, .. } = Bench::new();
        let mut held = Vec::new();
        for (gives_back, kept, input, writes) in steps {
            if gives_back && !held.is_empty() {
                held.remove(usize::try_from(input).unwrap() % held.len());
                continue;
            }
            let sum: u64 = held.iter().map(|(bytes, _)| *bytes).sum();
            let fits = sum + kept + input + writes <= LIMITS.budget;
            let share = disk.share(kept, input, writes);
            prop_assert_eq!(share.is_some(), fits);
            held.extend(share.map(|share| (input + writes, share)));
            prop_assert_eq!(disk.reserved(), held.iter().map(|(bytes, _)| *bytes).sum::<u64>());
        }
    }
}
