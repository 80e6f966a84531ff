//! How many tasks a node holds beyond those that it runs.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// As many tasks are held ahead as end in this time: the server stores what has ended, and hands out
/// the next ones, in less.
const WINDOW: Duration = Duration::from_millis(100);
/// The most tasks that are held ahead.
const AHEAD_MAX: usize = 256;

/// Follows how fast tasks end, so that no slot waits for the server between two short ones.
#[derive(Debug)]
pub struct Ahead {
    least: u32,
    /// When the last tasks ended, the oldest first.
    ends: VecDeque<Instant>,
}

impl Ahead {
    /// Holds at least so many tasks ahead, however long they take.
    pub const fn new(least: u32) -> Self {
        Self { least, ends: VecDeque::new() }
    }

    /// The container of a task has ended.
    pub fn ended(&mut self, now: Instant) {
        if self.ends.len() == AHEAD_MAX {
            self.ends.pop_front();
        }
        self.ends.push_back(now);
    }

    /// Whether tasks are so short that more than the least are held ahead.
    pub fn is_busy(&mut self, now: Instant) -> bool {
        self.tasks(now) > self.least
    }

    /// How many tasks to hold beyond those that run.
    pub fn tasks(&mut self, now: Instant) -> u32 {
        while self.ends.front().is_some_and(|end| now.duration_since(*end) > WINDOW) {
            self.ends.pop_front();
        }
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX).max(self.least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_ahead_are_as_many_as_end_while_the_server_answers() {
        let (mut ahead, start) = (Ahead::new(2), Instant::now());
        assert_eq!(ahead.tasks(start), 2);

        for ms in 0..50 {
            ahead.ended(start + Duration::from_millis(ms));
        }

        assert_eq!(ahead.tasks(start + Duration::from_millis(50)), 50);
        assert_eq!(ahead.tasks(start + Duration::from_millis(120)), 30);
        assert!(ahead.is_busy(start + Duration::from_millis(120)));
        assert_eq!(ahead.tasks(start + Duration::from_millis(500)), 2);
        assert!(!ahead.is_busy(start + Duration::from_millis(500)));
    }

    #[test]
    fn tasks_ahead_are_limited() {
        let (mut ahead, now) = (Ahead::new(2), Instant::now());

        (0..2 * AHEAD_MAX).for_each(|_| ahead.ended(now));

        assert_eq!(ahead.tasks(now), 256);
    }
}
