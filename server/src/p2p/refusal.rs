//! A no to a node, and whether it is worth asking again.

use common::error_chain::chain;
use common::protocol::BlobReply;

use crate::data;
use crate::store;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    Never(String),
    #[error("{0}")]
    Later(String),
    /// The customer's store fails, for now.
    #[error("{0}")]
    Source(String),
    #[error("the server's bucket does not answer")]
    BucketAway,
    #[error("this node does not hold the lease")]
    Outdated,
}

impl Refusal {
    /// Asking again gives the same answer.
    pub fn never(message: impl Into<String>) -> Self {
        Self::Never(message.into())
    }

    /// Asking again may give a better answer.
    pub fn later(message: impl Into<String>) -> Self {
        Self::Later(message.into())
    }
}

impl From<Refusal> for BlobReply {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Never(message) => Self::Refused { message, again: false },
            Refusal::Later(message) => Self::Refused { message, again: true },
            Refusal::Source(message) => Self::NoSource { message },
            Refusal::BucketAway => Self::BucketAway,
            Refusal::Outdated => Self::Outdated,
        }
    }
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Self {
        tracing::error!(error = %chain(&error), "blob request failed at the database");
        Self::later("the server's database does not answer")
    }
}

/// What our own bucket says stays with us: it may name paths and hosts.
impl From<data::Error> for Refusal {
    fn from(error: data::Error) -> Self {
        use data::Error as E;

        match error {
            E::Customer(text) => Self::never(text),
            E::At(..) => Self::never(error.to_string()),
            E::Full(full) => Self::never(full.to_string()),
            E::NotFound(_) => Self::never("the object is no longer there"),
            E::Damaged(_) => {
                tracing::error!(error = %chain(&error), "stored data is damaged");
                Self::never(error.to_string())
            }
            E::Elsewhere(text) => Self::Source(text),
            E::Mismatch => Self::never("the bytes do not have the announced size and digest"),
            E::Store(_) | E::Io(_) => {
                tracing::warn!(error = %chain(&error), "blob request failed at the bucket");
                Self::BucketAway
            }
        }
    }
}
