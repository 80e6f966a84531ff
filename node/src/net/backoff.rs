//! How long to wait before trying again.

use std::time::Duration;

use rand::Rng as _;

/// Doubling waits with jitter, so that many nodes do not come back at the same instant.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    first: Duration,
    most: Duration,
}

impl Backoff {
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { next: first, first, most }
    }

    /// For a transfer: from a quarter of a second to 15 seconds.
    pub const fn of_transfers() -> Self {
        Self::new(Duration::from_millis(250), Duration::from_secs(15))
    }

    /// The next wait: between half of the step and the whole of it.
    pub fn step(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.most);
        step / 2 + step.mul_f64(rand::rng().random_range(0.0..0.5))
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_maximum_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));

        let waits: Vec<_> = (0..8).map(|_| backoff.step()).collect();
        backoff.reset();

        assert!(waits[0] >= Duration::from_millis(50) && waits[0] <= Duration::from_millis(100));
        assert!(waits[7] >= Duration::from_millis(500) && waits[7] <= Duration::from_secs(1));
        assert!(backoff.step() <= Duration::from_millis(100));
    }
}
