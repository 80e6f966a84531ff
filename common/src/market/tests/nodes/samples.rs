//! What nodes say of how much running attempts use.

use super::*;
use crate::protocol::{SAMPLE_SECS, Sample};

fn sample(lease: Lease, secs: i64, cpu_millis: u32, memory_bytes: u64) -> Sample {
    Sample { lease, at_us: at(secs).timestamp_micros(), cpu_millis, memory_bytes }
}

fn says(samples: Vec<Sample>) -> CheckedSync {
    let heard = holds(&[(lease(0, 1), 1)]);
    CheckedSync { sync: Sync { samples, ..heard.sync }, ..heard }
}

fn taken(market: &mut Market) -> Vec<i64> {
    let taken = market.drain().samples;
    taken.iter().map(|sample| sample.at_us / 1_000_000).collect()
}

#[test]
fn sample_counts_once_for_a_period_that_has_passed() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    let period = i64::from(SAMPLE_SECS);

    let of = |secs| sample(lease(0, 1), secs, 1, 1);
    hear(&mut market, 0, says(vec![of(5), of(5), of(6), of(5 + period), of(99)]), 40);
    assert_eq!(taken(&mut market), [5, 5 + period]);

    hear(&mut market, 0, says(vec![of(5 + period), of(4), of(5 + 2 * period)]), 41);
    assert_eq!(taken(&mut market), [5 + 2 * period]);
}

#[test]
fn sample_of_somebody_elses_lease_or_beyond_its_needs_is_not_believed() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);

    let other = says(vec![sample(lease(0, 1), 10, 1, 1)]);
    hear(&mut market, 1, other, 20);
    let odd = vec![
        sample(lease(0, 2), 10, 1, 1),
        sample(lease(7, 1), 10, 1, 1),
        Sample { at_us: i64::MAX, ..sample(lease(0, 1), 10, 1, 1) },
        Sample { at_us: i64::MIN, ..sample(lease(0, 1), 10, 1, 1) },
    ];
    hear(&mut market, 0, says(odd), 20);
    assert_eq!(taken(&mut market), [0; 0]);

    hear(&mut market, 0, says(vec![sample(lease(0, 1), 10, u32::MAX, u64::MAX)]), 21);
    let samples = market.drain().samples;
    let needs = container().needs;
    assert_eq!(samples[0].cpu_millis, needs.cpu_millis);
    assert_eq!(samples[0].memory_bytes, u64::from(needs.memory_mib) << 20);
}
