//! Why an attempt has no results, and who is at fault.

use std::io;

use common::compute::exit;
use common::error_chain::chain;
use common::protocol::Failure;

use crate::logs::redact::Redactor;
use crate::runtime::{self, Ended, Ending};
use crate::server_client::transfer;
use crate::storage::{caches, packages};
use crate::{disk, link, registry};

/// The most bytes of a message in a receipt.
const MESSAGE_BYTES_MAX: usize = 2000;

/// Why an attempt has no results.
#[derive(Debug)]
pub enum Stopped {
    Cancelled,
    /// The task is no longer the node's.
    Outdated,
    Failed {
        failure: Failure,
        message: String,
    },
    NodeFault(String),
}

impl Stopped {
    /// The same of a container that has this name among several.
    pub fn of_container(self, name: &str) -> Self {
        match self {
            Self::Failed { failure, message } if !name.is_empty() => {
                let message = match message.as_str() {
                    "" => format!("in the container {name}"),
                    message => format!("in the container {name}: {message}"),
                };
                Self::Failed { failure, message }
            }
            Self::Failed { .. } | Self::Cancelled | Self::Outdated | Self::NodeFault(_) => self,
        }
    }

    /// The same without secrets in its message.
    pub fn redacted(self, redactor: &Redactor) -> Self {
        match self {
            Self::Cancelled => Self::Cancelled,
            Self::Outdated => Self::Outdated,
            Self::Failed { failure, message } => {
                Self::Failed { failure, message: redactor.text(&message) }
            }
            Self::NodeFault(message) => Self::NodeFault(redactor.text(&message)),
        }
    }
}

/// What a container's end means for its task.
pub fn judge(ended: Ended) -> Result<(), Stopped> {
    let (failure, message) = match ended.ending {
        Ending::Exited(0) => return Ok(()),
        Ending::Stopped => return Err(Stopped::Cancelled),
        // The failure itself says it.
        Ending::Exited(code) => (Failure::ExitCode(code), String::new()),
        Ending::Killed(code) => (Failure::Killed, format!("the container {}", exit::told(code))),
        Ending::Lost(how) => return Err(Stopped::NodeFault(how.to_owned())),
        Ending::Timeout => (Failure::Timeout, format!("after {} ms", ended.usage.wall_ms)),
        Ending::OutOfMemory => (Failure::OutOfMemory, String::new()),
        Ending::CacheFull => (
            Failure::Results,
            "the container filled its workspace's cache beyond what this node keeps for a \
             workspace; what containers wrote there is cleared before the next one"
                .to_owned(),
        ),
        Ending::TooMuchOutput => (
            Failure::Results,
            "the container wrote more than 1 MB a second to its output for more than a minute: \
             write data to the results' folder, and less to the log"
                .to_owned(),
        ),
        Ending::TooMuchWritten => (
            Failure::Results,
            "the container wrote more than the disk space that its package asks for, or more \
             files than one task may; files that it keeps open after it has removed them count too"
                .to_owned(),
        ),
        Ending::DiskLow => {
            let message = "the node's disk ran low while this task wrote to it";
            return Err(Stopped::NodeFault(message.to_owned()));
        }
    };
    Err(Stopped::Failed { failure, message })
}

pub fn failed(failure: Failure, error: &dyn std::error::Error) -> Stopped {
    Stopped::Failed { failure, message: chain(error).to_string() }
}

fn fault(error: &dyn std::error::Error) -> Stopped {
    Stopped::NodeFault(chain(error).to_string())
}

pub fn short(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    message
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::NodeFault(format!("node disk error: {error}"))
    }
}

impl From<disk::TooLow> for Stopped {
    fn from(error: disk::TooLow) -> Self {
        fault(&error)
    }
}

/// What belongs to the task and lies with the server does not come.
fn not_fetched(error: &transfer::Error, told: &dyn std::error::Error) -> Stopped {
    use transfer::Error as E;
    match error {
        E::Link(link::Error::Outdated) => Stopped::Outdated,
        E::Link(
            link::Error::Refused { .. }
            | link::Error::Source(_)
            | link::Error::Bucket(_)
            | link::Error::BucketAway,
        )
        | E::Spoiled => failed(Failure::Platform, told),
        E::Link(_) | E::Slow | E::TooLarge(_) | E::Disk(_) => fault(told),
    }
}

impl From<transfer::Error> for Stopped {
    fn from(error: transfer::Error) -> Self {
        not_fetched(&error, &error)
    }
}

impl From<packages::Error> for Stopped {
    fn from(error: packages::Error) -> Self {
        match &error {
            packages::Error::Archive(_) => failed(Failure::Package, &error),
            packages::Error::Fetch(transfer::Error::Spoiled) => failed(Failure::Damaged, &error),
            packages::Error::Fetch(cause) => not_fetched(cause, &error),
            packages::Error::Io(_) => fault(&error),
        }
    }
}

impl From<caches::Error> for Stopped {
    fn from(error: caches::Error) -> Self {
        match &error {
            caches::Error::Unusable(_) => failed(Failure::Input, &error),
            caches::Error::Fetch(cause) => not_fetched(cause, &error),
            caches::Error::Io(_) => fault(&error),
        }
    }
}

impl From<runtime::Error> for Stopped {
    fn from(error: runtime::Error) -> Self {
        use runtime::Error as E;
        match &error {
            E::Fetch(transfer::Error::Spoiled) => failed(Failure::Damaged, &error),
            E::Fetch(cause) => not_fetched(cause, &error),
            E::Unusable(_) | E::Registry(registry::Error::Unusable(_)) => {
                failed(Failure::Package, &error)
            }
            E::Registry(registry::Error::Io(_)) | E::Io(_) | E::Removed(_) | E::NotAllowed(_) => {
                fault(&error)
            }
            E::Unpullable(_) | E::Registry(_) => failed(Failure::Registry, &error),
            E::Engine { doing, source } => {
                tracing::warn!(doing, error = %chain(source), "the container engine failed");
                // Without what caused it: that is in the engine's words.
                Self::NodeFault(error.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{EngineWords, Error};

    #[test]
    fn engine_message_stays_with_the_node() {
        let said = EngineWords("GET http://10.0.0.1/: INTRANET-SECRET".to_owned());

        let stopped = Stopped::from(Error::Engine { doing: "load an image", source: said });

        let Stopped::NodeFault(message) = stopped else { panic!("{stopped:?}") };
        assert_eq!(message, "the container engine cannot load an image");
    }

    #[test]
    fn registry_failure_is_the_customers_fault_and_disk_failure_the_nodes() {
        use registry::Error as R;
        let host = || "r.example".to_owned();
        for (error, expected) in [
            (Error::Registry(R::Silent(host())), Some(Failure::Registry)),
            (Error::Registry(R::Slow(host())), Some(Failure::Registry)),
            (Error::Registry(R::NoImage(host())), Some(Failure::Registry)),
            (Error::Unpullable("no token".to_owned()), Some(Failure::Registry)),
            (Error::Registry(R::Unusable("is zstd".to_owned())), Some(Failure::Package)),
            (Error::Unusable("has a volume".to_owned()), Some(Failure::Package)),
            (Error::Registry(R::Io(io::Error::other("full"))), None),
            (Error::Io(io::Error::other("full")), None),
        ] {
            let failure = match Stopped::from(error) {
                Stopped::Failed { failure, .. } => Some(failure),
                Stopped::NodeFault(_) | Stopped::Cancelled | Stopped::Outdated => None,
            };
            assert_eq!(failure, expected);
        }
    }
}
