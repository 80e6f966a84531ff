//! Pauses after wrong guesses, which grow with each.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Result};

/// Wrong guesses that cost no pause: people mistype.
const FREE: u32 = 3;
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(900);
/// A name that has not guessed wrong for this long after its pause begins again.
const FORGOTTEN: Duration = Duration::from_secs(3600);
/// Names remembered at a time. Where there are more, those whose pauses end first are forgotten.
const NAMES_MAX: usize = 10_000;

/// Who has guessed wrong, and how often.
#[derive(Default)]
pub struct Pauses {
    names: Mutex<HashMap<String, Wrong>>,
}

struct Wrong {
    guesses: u32,
    /// When the pause ends.
    until: Instant,
}

impl Pauses {
    /// # Errors
    /// `RateLimited` during a pause, with the time until it ends.
    pub fn check(&self, name: &str) -> Result<()> {
        self.check_at(name, Instant::now())
    }

    /// Notes a wrong guess.
    pub fn wrong(&self, name: &str) {
        self.wrong_at(name, Instant::now());
    }

    /// Forgets the wrong guesses of who has guessed right.
    pub fn right(&self, name: &str) {
        self.lock().remove(name);
    }

    fn check_at(&self, name: &str, now: Instant) -> Result<()> {
        match self.lock().get(name) {
            Some(wrong) if wrong.until > now => {
                Err(Error::RateLimited((wrong.until - now).as_secs() + 1))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn wrong_at(&self, name: &str, now: Instant) {
        let mut names = self.lock();
        if names.len() >= NAMES_MAX && !names.contains_key(name) {
            let mut ends: Vec<Instant> = names.values().map(|wrong| wrong.until).collect();
            let (_, middle, _) = ends.select_nth_unstable(NAMES_MAX / 2);
            let middle = *middle;
            names.retain(|_, wrong| wrong.until > middle);
        }
        let wrong = names.entry(name.to_owned()).or_insert(Wrong { guesses: 0, until: now });
        if now.saturating_duration_since(wrong.until) > FORGOTTEN {
            wrong.guesses = 0;
        }
        wrong.guesses += 1;
        let pause = match wrong.guesses.checked_sub(FREE + 1) {
            None => Duration::ZERO,
            Some(doublings) => (FIRST * 2u32.pow(doublings.min(16))).min(LONGEST),
        };
        wrong.until = now + pause;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Wrong>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_wrong_guesses_and_end_with_a_right_one() {
        let (pauses, mut now) = (Pauses::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..14 {
            pauses.check_at("a", now).unwrap();
            pauses.wrong_at("a", now);
            let before = now;
            while pauses.check_at("a", now).is_err() {
                now += Duration::from_secs(1);
            }
            waits.push((now - before).as_secs());
        }

        assert_eq!(waits[..6], [0, 0, 0, 2, 4, 8]);
        assert_eq!(waits.last(), Some(&LONGEST.as_secs()));
        assert!(pauses.check_at("b", now).is_ok(), "others go on");
        pauses.wrong_at("a", now);
        assert!(pauses.check_at("a", now).is_err());
        pauses.right("a");
        assert!(pauses.check_at("a", now).is_ok());
    }

    #[test]
    fn pause_is_reset_after_a_time_without_guesses() {
        let (pauses, now) = (Pauses::default(), Instant::now());
        for _ in 0..10 {
            pauses.wrong_at("a", now);
        }

        let later = now + LONGEST + FORGOTTEN * 2;
        pauses.wrong_at("a", later);

        assert!(pauses.check_at("a", later).is_ok());
    }

    #[test]
    fn pauses_stay_separate_under_a_flood_of_names() {
        let (pauses, now) = (Pauses::default(), Instant::now());
        for _ in 0..8 {
            pauses.wrong_at("paused", now);
        }
        for name in 0..3 * NAMES_MAX {
            pauses.wrong_at(&name.to_string(), now);
        }

        assert!(pauses.check_at("new", now).is_ok());
        assert!(pauses.check_at("paused", now).is_err());
        assert!(pauses.lock().len() <= NAMES_MAX);
    }
}
