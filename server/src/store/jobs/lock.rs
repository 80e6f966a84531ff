//! One writer at a time for each job.
//!
//! A start reads a draft, and the coordinator stores its run later, in a batch with others, where
//! nothing may be refused any more. A change or deletion of a draft waits meanwhile.

use common::ids::JobId;

use crate::limits::concurrency::{KeyedSemaphore, Permit};

/// The most jobs that are locked at once.
const LOCKS_MAX: usize = 4_096;

/// The locks of all jobs; clones share them.
#[derive(Clone)]
pub struct JobLocks {
    places: KeyedSemaphore<JobId>,
}

/// The lock of a job, until it is dropped.
pub struct JobLock {
    job: JobId,
    _place: Permit<JobId>,
}

impl JobLocks {
    pub fn new() -> Self {
        Self { places: KeyedSemaphore::new(1, LOCKS_MAX) }
    }

    /// Waits until nobody else holds the job's lock. Dropping the future gives up the wait.
    pub async fn lock(&self, job: JobId) -> JobLock {
        JobLock { job, _place: self.places.take(job).await }
    }
}

impl Default for JobLocks {
    fn default() -> Self {
        Self::new()
    }
}

impl JobLock {
    pub fn job(&self) -> JobId {
        self.job
    }
}
