//! How many tasks a node holds beyond those that it runs.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// As many tasks are held ahead as end while the server answers so many times: an answer stores what
/// has ended and brings the next ones.
const ANSWERS: u32 = 4;
/// The least and the most of this time.
const WINDOW_MIN: Duration = Duration::from_millis(100);
const WINDOW_MAX: Duration = Duration::from_secs(1);
/// The most tasks that are held ahead.
const AHEAD_MAX: usize = 256;

/// Follows how fast tasks end, so that no slot waits for the server between two short ones.
#[derive(Debug)]
pub struct Ahead {
    least: u32,
    /// How long the server takes to answer, on the average of its last answers.
    answer: Duration,
    /// When the last tasks ended, the oldest first.
    ends: VecDeque<Instant>,
}

impl Ahead {
    /// Holds at least so many tasks ahead, however long they take.
    pub const fn new(least: u32) -> Self {
        Self { least, answer: Duration::ZERO, ends: VecDeque::new() }
    }

    /// The server has answered a message with receipts after this time.
    pub fn answered(&mut self, took: Duration) {
        self.answer = (self.answer * 3 + took) / 4;
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
        let window = (self.answer * ANSWERS).clamp(WINDOW_MIN, WINDOW_MAX);
        while self.ends.front().is_some_and(|end| now.duration_since(*end) > window) {
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
    fn tasks_ahead_are_more_where_the_server_answers_slowly() {
        let (mut ahead, start) = (Ahead::new(2), Instant::now());
        (0..50).for_each(|ms| ahead.ended(start + Duration::from_millis(ms)));

        (0..20).for_each(|_| ahead.answered(Duration::from_millis(200)));

        assert_eq!(ahead.tasks(start + Duration::from_millis(500)), 50);
        (0..20).for_each(|_| ahead.answered(Duration::from_secs(60)));
        assert_eq!(ahead.tasks(start + Duration::from_millis(1100)), 2);
    }

    #[test]
    fn tasks_ahead_are_limited() {
        let (mut ahead, now) = (Ahead::new(2), Instant::now());

        (0..2 * AHEAD_MAX).for_each(|_| ahead.ended(now));

        assert_eq!(ahead.tasks(now), 256);
    }
}
