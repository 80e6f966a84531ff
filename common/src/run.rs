//! The states of a run, as its customer sees them.

use serde::{Deserialize, Serialize};

/// What a run is doing. The order is the order of a run's life; `Failed` and `Aborted` can follow
/// any of those before `Complete`, and `Delivering` can follow `Failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Accepted: everything is pinned and the credits are held.
    Started,
    /// The source is being looked at, or staged where it cannot be read by ranges.
    Fetching,
    Partitioning,
    /// The chunks are known; nodes work on them.
    Processing,
    Processed,
    Assembling,
    Assembled,
    /// The output is being written to the destination.
    Delivering,
    Complete,
    Failed,
    /// Its customer has ended it.
    Aborted,
}

impl RunState {
    pub const ALL: [Self; 11] = [
        Self::Started,
        Self::Fetching,
        Self::Partitioning,
        Self::Processing,
        Self::Processed,
        Self::Assembling,
        Self::Assembled,
        Self::Delivering,
        Self::Complete,
        Self::Failed,
        Self::Aborted,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Fetching => "fetching",
            Self::Partitioning => "partitioning",
            Self::Processing => "processing",
            Self::Processed => "processed",
            Self::Assembling => "assembling",
            Self::Assembled => "assembled",
            Self::Delivering => "delivering",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Nothing follows this state by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Aborted)
    }
}
