//! How customers' code runs: what the server has compiled, put together with this machine's
//! folders. The engine behind `docker` knows nothing of packages and tasks.

pub mod docker;
mod interpreter;
pub mod launch;
pub mod warm;

use common::compute::resources::Usage;

pub use launch::{Entry, Launch, Mount};

/// How a container ended, and what it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub ending: Ending,
    pub usage: Usage,
}

impl Ended {
    /// Writes to the log how the container ended, and what it used.
    pub fn log(&self) {
        let Usage { wall_ms, cpu_ms, memory_peak_bytes, .. } = self.usage;
        let (ending, code) = (self.ending.as_str(), self.ending.code());
        tracing::info!(ending, code, wall_ms, cpu_ms, memory_peak_bytes, "container ended");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Exited(i64),
    /// It was ended from outside, or by itself as if it were: its code tells no more.
    Killed(i64),
    /// Something on this machine has taken it away.
    Lost(&'static str),
    Timeout,
    OutOfMemory,
    /// It wrote to its output faster than any log can take, for too long.
    TooMuchOutput,
    /// It wrote more than its package asks for.
    TooMuchWritten,
    /// The node's disk had too little free space left, and it had written most.
    DiskLow,
    /// Its workspace's cache has grown beyond what it may have.
    CacheFull,
    /// It was told to.
    Stopped,
}

impl Ending {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exited(_) => "exited",
            Self::Killed(_) => "killed",
            Self::Lost(_) => "lost",
            Self::Timeout => "timeout",
            Self::OutOfMemory => "out of memory",
            Self::TooMuchOutput => "too much output",
            Self::TooMuchWritten => "too much written",
            Self::DiskLow => "disk low",
            Self::CacheFull => "cache full",
            Self::Stopped => "stopped",
        }
    }

    /// The exit code of a container that was not ended by the node.
    pub const fn code(self) -> Option<i64> {
        match self {
            Self::Exited(code) | Self::Killed(code) => Some(code),
            Self::Lost(_)
            | Self::Timeout
            | Self::OutOfMemory
            | Self::TooMuchOutput
            | Self::TooMuchWritten
            | Self::DiskLow
            | Self::CacheFull
            | Self::Stopped => None,
        }
    }

    /// Whether it was ended for what it wrote.
    pub const fn is_by_disk(self) -> bool {
        matches!(self, Self::TooMuchWritten | Self::DiskLow | Self::CacheFull)
    }
}

/// A container did not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The customer's package or image is at fault.
    #[error("{0}")]
    Unusable(String),
    /// The image cannot be pulled with what its server gave for it.
    #[error("{0}")]
    Unpullable(String),
    /// The image cannot be pulled.
    #[error(transparent)]
    Registry(#[from] crate::registry::Error),
    /// The node is at fault. What the engine says may be a stranger's words: it is for the node's
    /// owner alone.
    #[error("the container engine cannot {doing}")]
    Engine { doing: &'static str, source: EngineWords },
    /// Its owner does not allow it: the server should not have asked.
    #[error("this node's owner does not allow {0}")]
    NotAllowed(&'static str),
    #[error("{0} was removed from the container engine before it could run")]
    Removed(&'static str),
    #[error("the image cannot be fetched")]
    Fetch(#[from] crate::server_client::transfer::Error),
    #[error("node disk error")]
    Io(#[from] std::io::Error),
}

/// What a container engine says.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EngineWords(pub String);
