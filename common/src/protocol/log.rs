//! Log lines on their way to the server.

use serde::{Deserialize, Serialize};

use crate::run::task::Lease;

/// What a container wrote, and its node around it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogBatch {
    pub lease: Lease,
    /// The number of the first line, from 0, so that a batch sent twice is stored once.
    pub first: u32,
    pub lines: Vec<LogLine>,
}

impl LogBatch {
    /// The number of the line after its last.
    pub fn end(&self) -> u32 {
        self.first.saturating_add(u32::try_from(self.lines.len()).unwrap_or(u32::MAX))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLine {
    /// Microseconds since 1970, by the node's clock.
    pub at_us: i64,
    pub level: Level,
    pub stream: Stream,
    pub text: String,
}

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Stream {
    /// A container's standard output.
    #[default]
    Out,
    /// A container's standard error.
    Err,
    /// The node itself.
    Node,
}

/// How grave a line is. What a container writes is `Unknown`: only the node's own lines have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Level {
    #[default]
    Unknown,
    Debug,
    Info,
    Error,
}
