//! Why a command failed, and the exit code that says so.

use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;

use common::error_chain::chain;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server answered, and said no.
    #[error("{message}")]
    Refused { message: String },
    /// The job ran, and failed.
    #[error("job {job} failed: {reason}")]
    JobFailed { job: String, reason: String },
    /// The container of a run ended with this code, which is not 0.
    #[error("the container ended with exit code {0}")]
    Exited(u8),
    /// Somebody pressed Ctrl-C while a run was followed.
    #[error("the run goes on: `fanfold job abort {job}` ends it")]
    Interrupted { job: String },
    /// The command line, or a file it names, does not make sense.
    #[error("{0}")]
    Usage(String),
    /// No answer came.
    #[error("cannot reach {url}: {why}; is the server running?")]
    Unreachable { url: String, why: String },
    /// There are no credentials, or the server does not accept them.
    #[error("{0}")]
    Unauthorised(String),
    /// Something on this machine failed: a file, the container engine.
    #[error("{what}: {why}")]
    Local { what: String, why: String },
    /// The reader of stdout has closed it.
    #[error("the output was closed")]
    OutputClosed,
}

impl Failure {
    pub fn local(what: impl Display, why: impl Display) -> Self {
        Self::Local { what: what.to_string(), why: why.to_string() }
    }

    /// A failure of this machine with all its causes, the nearest first.
    pub fn caused(what: impl Display, error: &dyn Error) -> Self {
        Self::local(what, chain(error))
    }

    /// The exit code that `--help` and the README promise.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::OutputClosed => 0,
            Self::Refused { .. } | Self::JobFailed { .. } => 1,
            Self::Exited(code) => *code,
            // As shells say of a program that Ctrl-C has ended.
            Self::Interrupted { .. } => 130,
            Self::Usage(_) => 2,
            Self::Unreachable { .. } => 3,
            Self::Unauthorised(_) => 4,
            Self::Local { .. } => 5,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_shows_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read the key")]
        struct Outer(#[source] std::io::Error);

        let failure = Failure::caused("no start", &Outer(std::io::Error::other("disk gone")));

        assert_eq!(failure.to_string(), "no start: cannot read the key: disk gone");
    }
}
