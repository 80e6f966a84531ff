//! How slow a registry may be: each pull must go at a floor's speed, and no silence may be long.

use std::time::Duration;

use tokio::time::Instant;

/// What a pull may take beside its bytes.
const GRACE: Duration = Duration::from_secs(60);
const SILENCE: Duration = Duration::from_secs(30);
const BYTES_PER_SEC_MIN: u64 = 256 << 10;

/// The speed of one pull.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    start: Instant,
    last: Instant,
    bytes: u64,
}

impl Pace {
    pub fn start(now: Instant) -> Self {
        Self { start: now, last: now, bytes: 0 }
    }

    /// So many bytes have come.
    pub fn came(&mut self, bytes: u64, now: Instant) {
        self.bytes += bytes;
        self.last = now;
    }

    /// Until when the next bytes must come.
    pub fn deadline(&self) -> Instant {
        let floor = self.start + GRACE + Duration::from_secs(self.bytes / BYTES_PER_SEC_MIN);
        floor.min(self.last + SILENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds after which a pull is ended that gets `bytes` bytes every five.
    fn ended_after(bytes: u64) -> Option<u64> {
        let start = Instant::now();
        let mut pace = Pace::start(start);
        (0..1000).step_by(5).find(|seconds| {
            let now = start + Duration::from_secs(*seconds);
            let is_over = pace.deadline() < now;
            pace.came(bytes, now);
            is_over
        })
    }

    #[test]
    fn pull_ends_below_the_minimum_speed_and_continues_at_it() {
        assert_eq!(ended_after(1), Some(GRACE.as_secs() + 5));
        assert_eq!(ended_after(5 * BYTES_PER_SEC_MIN), None);
    }

    #[test]
    fn pull_has_a_limit_of_silence_after_a_fast_beginning() {
        let now = Instant::now();
        let mut pace = Pace::start(now);

        pace.came(1 << 40, now);

        assert_eq!(pace.deadline(), now + SILENCE);
    }
}
