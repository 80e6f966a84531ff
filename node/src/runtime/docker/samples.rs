//! What running attempts use, as means over periods of the clock: for their customers to look at.
//! What is paid is metered apart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::protocol::{SAMPLE_SECS, SAMPLES_MAX, Sample};
use common::run::task::Lease;

const PERIOD_US: i64 = SAMPLE_SECS as i64 * 1_000_000;
/// When all containers of an attempt have told of a period that has ended.
const SETTLED_US: i64 = 2_000_000;
/// Samples that are kept while no server takes them.
const KEPT_MAX: usize = 4 * SAMPLES_MAX;

/// Samples that the server does not have yet; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Samples(Arc<Mutex<BTreeMap<Key, Figures>>>);

/// The end of a period, and whose it is.
type Key = (i64, Lease);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Figures {
    cpu_millis: u32,
    memory_bytes: u64,
}

impl Samples {
    /// Adds what one container of an attempt used in the period that ends at `at_us`.
    pub fn add(&self, lease: Lease, at_us: i64, cpu_millis: u32, memory_bytes: u64) {
        let mut kept = self.lock();
        let figures = kept.entry((at_us, lease)).or_default();
        figures.cpu_millis = figures.cpu_millis.saturating_add(cpu_millis);
        figures.memory_bytes = figures.memory_bytes.saturating_add(memory_bytes);
        while kept.len() > KEPT_MAX {
            kept.pop_first();
        }
    }

    /// The oldest samples of periods that ended a while before `now_us`, as many as one message
    /// takes.
    pub fn settled(&self, now_us: i64) -> Vec<Sample> {
        let kept = self.lock();
        let settled = kept.iter().take_while(|((at_us, _), _)| at_us + SETTLED_US <= now_us);
        let sample = |(&(at_us, lease), &Figures { cpu_millis, memory_bytes })| Sample {
            lease,
            at_us,
            cpu_millis,
            memory_bytes,
        };
        settled.take(SAMPLES_MAX).map(sample).collect()
    }

    /// The server has had these samples.
    pub fn sent(&self, samples: &[(i64, Lease)]) {
        let mut kept = self.lock();
        for key in samples {
            kept.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Figures>> {
        // A half-made change at worst forgets.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Microseconds since 1970.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The end of the period that `now_us` lies in, and how far away it is.
pub fn period_end(now_us: i64) -> (i64, Duration) {
    let end = (now_us.div_euclid(PERIOD_US) + 1) * PERIOD_US;
    (end, Duration::from_micros(u64::try_from(end - now_us).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::lease;

    #[test]
    fn samples_of_an_attempts_containers_are_added_up_and_kept_until_they_are_sent() {
        let samples = Samples::default();
        let (end, left) = period_end(PERIOD_US + 1);
        assert_eq!((end, left), (2 * PERIOD_US, Duration::from_micros(14_999_999)));
        samples.add(lease(1), end, 100, 1000);
        samples.add(lease(1), end, 50, 500);
        samples.add(lease(2), end, 1, 1);
        samples.add(lease(1), end + PERIOD_US, 7, 7);

        assert_eq!(samples.settled(end + SETTLED_US - 1), []);
        let settled = samples.settled(end + SETTLED_US);

        let told: Vec<_> =
            settled.iter().map(|s| (s.lease, s.cpu_millis, s.memory_bytes)).collect();
        assert_eq!(told, [(lease(1), 150, 1500), (lease(2), 1, 1)]);
        assert_eq!(samples.settled(end + SETTLED_US), settled);
        samples.sent(&[(end, lease(1)), (end, lease(2))]);
        assert_eq!(samples.settled(end + SETTLED_US), []);
    }

    #[test]
    fn samples_that_no_server_takes_are_bounded() {
        let samples = Samples::default();
        for n in 0..2 * KEPT_MAX {
            samples.add(lease(1), i64::try_from(n).unwrap(), 1, 1);
        }
        assert_eq!(samples.lock().len(), KEPT_MAX);
    }
}
