//! When to count again what a container has written: counting takes time, and so does noticing.

use std::time::Duration;

use tokio::time::Instant;

/// A count is no reason to count without a break.
const BREAK: u32 = 4;
/// The file system's own work makes its free space fall by less than that.
const NOISE: u64 = 1 << 20;

/// Counts come at a period, and sooner where the file system's free space falls by a good part of
/// what the container may still write.
#[derive(Debug)]
pub struct Pace {
    period: Duration,
    last: Instant,
    pause: Duration,
    /// The free space at the last count, and how far it may fall until the next.
    free: u64,
    slack: u64,
}

impl Pace {
    pub const fn new(period: Duration, now: Instant, free: u64, left: u64) -> Self {
        Self { period, last: now, pause: Duration::ZERO, free, slack: slack(left) }
    }

    pub fn is_due(&self, now: Instant, free: u64) -> bool {
        let passed = now.saturating_duration_since(self.last);
        passed >= self.period.max(self.pause)
            || (passed >= self.pause && self.free.saturating_sub(free) >= self.slack)
    }

    /// A count of this time, with so much free space at its begin, found that so much may still be
    /// written.
    pub fn counted(&mut self, (began, ended): (Instant, Instant), free: u64, left: u64) {
        (self.free, self.slack) = (free, slack(left));
        (self.last, self.pause) = (ended, ended.saturating_duration_since(began) * BREAK);
    }
}

const fn slack(left: u64) -> u64 {
    let part = left / 4;
    if part > NOISE { part } else { NOISE }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(500);
    const TICK: Duration = Duration::from_millis(25);

    #[test]
    fn falling_space_triggers_a_count_and_stable_space_waits() {
        let begin = Instant::now();
        let mut pace = Pace::new(PERIOD, begin, 1 << 30, 100 << 20);
        let now = begin + TICK;

        assert!(!pace.is_due(now, 1 << 30));
        assert!(!pace.is_due(now, (1 << 30) - (24 << 20)));
        assert!(pace.is_due(now, (1 << 30) - (25 << 20)));
        assert!(pace.is_due(begin + PERIOD, 1 << 30));

        let free = (1 << 30) - (25 << 20);
        pace.counted((now, now), free, 75 << 20);
        assert!(!pace.is_due(now + TICK, free));
        assert!(pace.is_due(now + PERIOD, free));
    }

    #[test]
    fn slow_counts_are_followed_by_breaks() {
        let began = Instant::now();
        let mut pace = Pace::new(PERIOD, began, 1 << 30, 0);
        let ended = began + Duration::from_secs(1);
        pace.counted((began, ended), 1 << 30, 0);

        assert!(!pace.is_due(ended + Duration::from_secs(3), 0));
        assert!(pace.is_due(ended + Duration::from_secs(4), 0));
    }
}
