//! One writer at a time for each job.
//!
//! A start reads a draft, and the coordinator stores its run later, in a batch with others, where
//! nothing may be refused any more. A change or deletion of a draft waits meanwhile.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::ids::JobId;

use crate::limits::concurrency::{KeyedSemaphore, Permit};

/// The most jobs that are locked at once.
const LOCKS_MAX: usize = 4_096;

/// How many counters the jobs share: few enough to be small, and so many that two jobs of a moment
/// hardly ever have the same.
const COUNTERS: usize = 1_024;

/// The locks of all jobs; clones share them.
#[derive(Clone)]
pub struct JobLocks {
    places: KeyedSemaphore<JobId>,
    counters: Arc<Counters>,
}

/// How often locks were taken or given back, by a hash of their jobs.
struct Counters {
    hasher: RandomState,
    turns: [AtomicU64; COUNTERS],
}

/// The lock of a job, until it is dropped.
pub struct JobLock {
    job: JobId,
    /// Before it was taken.
    turns: u64,
    counters: Arc<Counters>,
    _place: Permit<JobId>,
}

/// A moment in the life of a job's lock, by which a read of the job is known to be of its newest
/// state.
#[derive(Debug, Clone, Copy)]
pub struct JobLook {
    job: JobId,
    turns: u64,
}

impl JobLocks {
    pub fn new() -> Self {
        let turns = std::array::from_fn(|_| AtomicU64::new(0));
        let counters = Arc::new(Counters { hasher: RandomState::new(), turns });
        Self { places: KeyedSemaphore::new(1, LOCKS_MAX), counters }
    }

    /// Waits until nobody else holds the job's lock. Dropping the future gives up the wait.
    pub async fn lock(&self, job: JobId) -> JobLock {
        let place = self.places.take(job).await;
        let counters = Arc::clone(&self.counters);
        JobLock { job, turns: counters.turn(job), counters, _place: place }
    }

    /// Looks at the lock of a job before the job is read.
    pub fn look(&self, job: JobId) -> JobLook {
        JobLook { job, turns: self.counters.of(job).load(Ordering::Acquire) }
    }
}

impl Default for JobLocks {
    fn default() -> Self {
        Self::new()
    }
}

impl Counters {
    fn of(&self, job: JobId) -> &AtomicU64 {
        let place = self.hasher.hash_one(job) % COUNTERS as u64;
        &self.turns[usize::try_from(place).unwrap_or(0)]
    }

    /// Counts one more, and gives the count before it.
    fn turn(&self, job: JobId) -> u64 {
        self.of(job).fetch_add(1, Ordering::AcqRel)
    }
}

impl JobLock {
    pub fn job(&self) -> JobId {
        self.job
    }

    /// Whether nobody has held this lock since the look, or at its moment: then what was read of
    /// the job meanwhile is what is stored. May be false where that is so.
    pub fn is_unchanged_since(&self, look: JobLook) -> bool {
        self.job == look.job && self.turns == look.turns
    }
}

impl Drop for JobLock {
    fn drop(&mut self) {
        // Before the next one can take it.
        self.counters.turn(self.job);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn job(n: u128) -> JobId {
        JobId::new(Uuid::from_u128(n))
    }

    #[tokio::test]
    async fn lock_knows_whether_anybody_held_it_since_a_look() {
        let locks = JobLocks::new();
        let before = locks.look(job(1));
        let first = locks.lock(job(1)).await;
        assert!(first.is_unchanged_since(before));
        let during = locks.look(job(1));
        drop(first);
        let after = locks.look(job(1));

        let second = locks.lock(job(1)).await;

        assert!(!second.is_unchanged_since(before));
        assert!(
            !second.is_unchanged_since(during),
            "what was read may be older than what was written"
        );
        assert!(second.is_unchanged_since(after));
        assert!(!second.is_unchanged_since(locks.look(job(2))));
    }
}
