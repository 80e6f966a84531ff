//! The parts of a run that its customer follows.

use serde::{Deserialize, Serialize};

/// A part of a run, which begins with a block of its plan. The order is that of a template's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The source is being looked at, or staged where it cannot be read by ranges.
    Fetch,
    Partition,
    Process,
    Assemble,
    /// The output is being written to the destination.
    Deliver,
}

impl Phase {
    pub const ALL: [Self; 5] =
        [Self::Fetch, Self::Partition, Self::Process, Self::Assemble, Self::Deliver];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Partition => "partition",
            Self::Process => "process",
            Self::Assemble => "assemble",
            Self::Deliver => "deliver",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == name)
    }
}
