//! RequestLimit for requests that take long or much: a maximum for each workspace, and one in all.

use std::time::Duration;

use common::ids::WorkspaceId;

use crate::error::{Error, Result};
use crate::limits::concurrency::{Full, KeyedSemaphore, Permit};

/// How long a request waits for a permit before it is refused.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The limit of one kind of requests.
pub struct RequestLimit {
    /// What is limited, in the plural.
    what: &'static str,
    permits: KeyedSemaphore<WorkspaceId>,
}

pub struct RequestLimits {
    /// Archives that are read into memory.
    pub pushes: RequestLimit,
    /// Bodies that wait in files of their own: a maximum of the disk that they take.
    pub spools: RequestLimit,
    /// Bodies that go to the bucket.
    pub uploads: RequestLimit,
    /// Requests that wait for a job to change.
    pub waits: RequestLimit,
    /// Event streams.
    pub streams: RequestLimit,
    /// Downloads that are made as they go.
    pub downloads: RequestLimit,
}

impl RequestLimits {
    pub fn new() -> Self {
        Self {
            pushes: RequestLimit::new("pushes of packages", 1, 2),
            spools: RequestLimit::new("pushes of packages", 4, 32),
            uploads: RequestLimit::new("uploads", 16, 512),
            waits: RequestLimit::new("requests that wait for a job", 64, 1024),
            streams: RequestLimit::new("event streams", 64, 1024),
            downloads: RequestLimit::new("downloads of logs", 4, 32),
        }
    }
}

impl RequestLimit {
    fn new(what: &'static str, per_workspace: usize, total: usize) -> Self {
        Self { what, permits: KeyedSemaphore::new(per_workspace, total) }
    }

    /// Takes a permit at once.
    ///
    /// # Errors
    /// `Busy` where there is none.
    pub fn try_take(&self, workspace: WorkspaceId) -> Result<Permit<WorkspaceId>> {
        self.permits.try_take(workspace).map_err(|full| Error::Busy(self.what, full))
    }

    /// Takes a permit, and waits for it a while. Nothing scarce may be held meanwhile.
    ///
    /// # Errors
    /// `Busy` where there is none in time.
    pub async fn take(&self, workspace: WorkspaceId) -> Result<Permit<WorkspaceId>> {
        tokio::time::timeout(WAIT_MAX, self.permits.take(workspace))
            .await
            .map_err(|_| Error::Busy(self.what, Full::Total))
    }
}
