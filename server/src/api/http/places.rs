//! Places for requests that take long or much: a maximum for each workspace, and one in all.

use std::time::Duration;

use common::ids::WorkspaceId;

use crate::error::{Error, Result};
use crate::limits::concurrency::{Full, KeyedPlaces, Place};

/// How long a request waits for a place before it is refused.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// One kind of places.
pub struct Places {
    /// What takes them, in the plural.
    what: &'static str,
    places: KeyedPlaces<WorkspaceId>,
}

pub struct AllPlaces {
    /// Archives that are read into memory.
    pub pushes: Places,
    /// Bodies that wait in files of their own: a maximum of the disk that they take.
    pub spools: Places,
    /// Bodies that go to the bucket.
    pub uploads: Places,
    /// Requests that wait for a job to change.
    pub waits: Places,
    /// Event streams.
    pub streams: Places,
    /// Downloads that are made as they go.
    pub downloads: Places,
}

impl AllPlaces {
    pub fn new() -> Self {
        Self {
            pushes: Places::new("pushes of packages", 1, 2),
            spools: Places::new("pushes of packages", 4, 32),
            uploads: Places::new("uploads", 16, 512),
            waits: Places::new("requests that wait for a job", 64, 1024),
            streams: Places::new("event streams", 64, 1024),
            downloads: Places::new("downloads of logs", 4, 32),
        }
    }
}

impl Places {
    fn new(what: &'static str, per_workspace: usize, total: usize) -> Self {
        Self { what, places: KeyedPlaces::new(per_workspace, total) }
    }

    /// Takes a place at once.
    ///
    /// # Errors
    /// `Busy` where there is none.
    pub fn try_take(&self, workspace: WorkspaceId) -> Result<Place<WorkspaceId>> {
        self.places.try_take(workspace).map_err(|full| Error::Busy(self.what, full))
    }

    /// Takes a place, and waits for it a while. Nothing scarce may be held meanwhile.
    ///
    /// # Errors
    /// `Busy` where there is none in time.
    pub async fn take(&self, workspace: WorkspaceId) -> Result<Place<WorkspaceId>> {
        tokio::time::timeout(WAIT_MAX, self.places.take(workspace))
            .await
            .map_err(|_| Error::Busy(self.what, Full::Total))
    }
}
