//! The names of work: which task of which stage, and which try of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::RunId;

/// A set of tasks that may run side by side. A template compiles to these three, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Partition,
    Process,
    Assemble,
}

impl Stage {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::Process => "process",
            Self::Assemble => "assemble",
        }
    }

    /// The number that stands for the stage in the database.
    pub const fn number(self) -> i16 {
        match self {
            Self::Partition => 0,
            Self::Process => 1,
            Self::Assemble => 2,
        }
    }

    pub const fn from_number(number: i16) -> Option<Self> {
        match number {
            0 => Some(Self::Partition),
            1 => Some(Self::Process),
            2 => Some(Self::Assemble),
            _ => None,
        }
    }
}

/// Names a task. In the process stage the index is the chunk number, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRef {
    pub run: RunId,
    pub stage: Stage,
    pub index: u32,
}

impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.run, self.stage.as_str(), self.index)
    }
}

/// The right of one node to work on one attempt of a task. The attempt, from 1, is the fence: a
/// report under an older one changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    pub task: TaskRef,
    pub attempt: u32,
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.task, self.attempt)
    }
}
