//! How often somebody may try: a bucket of tries for each name, which fills again with time.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Result};

/// Names remembered at a time. Where there are more, those that have taken least are forgotten, so
/// that asking under many names shuts nobody out and frees nobody who has taken much.
const NAMES_MAX: usize = 10_000;

/// A bucket for each name.
pub struct Limits {
    /// Tries that a full bucket holds.
    tries: u32,
    /// How long one try takes to come back.
    refill: Duration,
    /// When each bucket that is not full will be.
    full_at: Mutex<HashMap<String, Instant>>,
}

impl Limits {
    pub fn new(tries: u32, refill: Duration) -> Self {
        Self { tries, refill, full_at: Mutex::default() }
    }

    /// As many tries as this in a minute, at once or one after the other.
    pub fn per_minute(tries: NonZeroU32) -> Self {
        Self::new(tries.get(), Duration::from_secs(60) / tries.get())
    }

    /// Takes a try from a name's bucket.
    ///
    /// # Errors
    /// `RateLimited` where it is empty, with the time after which one is back.
    pub fn take(&self, name: &str) -> Result<()> {
        self.take_at(name, Instant::now())
    }

    fn take_at(&self, name: &str, now: Instant) -> Result<()> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= NAMES_MAX && !full_at.contains_key(name) {
            full_at.retain(|_, at| *at > now);
            if full_at.len() >= NAMES_MAX {
                let mut ends: Vec<Instant> = full_at.values().copied().collect();
                let (_, middle, _) = ends.select_nth_unstable(NAMES_MAX / 2);
                let middle = *middle;
                full_at.retain(|_, at| *at > middle);
            }
        }
        let full = full_at.get(name).copied().filter(|at| *at > now).unwrap_or(now);
        let full = full + self.refill;
        let most = now + self.refill * self.tries;
        if full > most {
            let wait = full - most;
            return Err(Error::RateLimited(wait.as_secs() + 1));
        }
        full_at.insert(name.to_owned(), full);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFILL: Duration = Duration::from_secs(10);

    #[test]
    fn rate_limit_is_used_up_per_name_and_recovers() {
        let (limits, now) = (Limits::new(3, REFILL), Instant::now());
        for _ in 0..3 {
            limits.take_at("a", now).unwrap();
        }

        assert!(matches!(limits.take_at("a", now), Err(Error::RateLimited(11))));
        limits.take_at("b", now).unwrap();
        limits.take_at("a", now + REFILL).unwrap();
        assert!(limits.take_at("a", now + REFILL).is_err());
    }

    #[test]
    fn rate_limit_stays_separate_under_a_flood_of_names() {
        let (limits, now) = (Limits::new(3, REFILL), Instant::now());
        for _ in 0..3 {
            limits.take_at("greedy", now).unwrap();
        }
        for name in 0..3 * NAMES_MAX {
            limits.take_at(&name.to_string(), now).unwrap();
        }

        limits.take_at("one more", now).unwrap();
        assert!(limits.take_at("greedy", now).is_err());
        assert!(limits.full_at.lock().unwrap().len() <= NAMES_MAX);
    }
}
