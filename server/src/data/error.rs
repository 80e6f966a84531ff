//! Why the data plane fails.

use std::io::ErrorKind;

use common::secret::DataEnd;

use super::cloud;
use crate::limits::quotas::Full;

/// Whose fault a failure is decides what happens next: a customer's ends the run with this text,
/// the world's is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The customer's source, destination or secret: the text tells them what to do.
    #[error("{0}")]
    Customer(String),
    /// The same of the source or the destination as a whole.
    #[error("{end}: {text}", end = name(.0), text = .1)]
    At(DataEnd, String),
    #[error("there is no object {0}")]
    NotFound(String),
    #[error("the bytes do not have the digest or size that was announced")]
    Mismatch,
    /// A file in Fanfold's own bucket is no longer the one that was stored.
    #[error(
        "the file {0:?} is damaged in the server's storage: upload it again, or run the job again \
         if it is a result"
    )]
    Damaged(String),
    /// A customer's server fails for now; the text names it and what it says.
    #[error("{0}")]
    Elsewhere(String),
    #[error(transparent)]
    Full(#[from] Full),
    #[error("the object store failed")]
    Store(#[from] object_store::Error),
    #[error("reading failed")]
    Io(#[from] std::io::Error),
}

impl Error {
    /// The database's error that this one stands for.
    pub fn of_database(&self) -> Option<&crate::store::Error> {
        let Self::Io(error) = self else { return None };
        error.get_ref()?.downcast_ref()
    }

    /// Which part of the server's own failed.
    pub fn part(&self) -> &'static str {
        if self.of_database().is_some() { "database" } else { "bucket" }
    }

    /// Whether the disk of the bucket, or of the database, is full.
    pub fn is_full(&self) -> bool {
        if let Some(error) = self.of_database() {
            return crate::store::is_full(error);
        }
        let mut error: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(cause) = error {
            if let Some(io) = cause.downcast_ref::<std::io::Error>() {
                return matches!(io.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
            }
            error = cause.source();
        }
        false
    }

    /// Whether the bucket is away or has no room, so that asking again can help.
    pub fn is_away(&self) -> bool {
        use ErrorKind as K;

        match self {
            Self::Store(error) => !matches!(
                error,
                object_store::Error::PermissionDenied { .. }
                    | object_store::Error::Unauthenticated { .. }
                    | object_store::Error::InvalidPath { .. }
                    | object_store::Error::NotSupported { .. }
                    | object_store::Error::NotImplemented { .. }
            ),
            Self::Io(error) => match self.of_database() {
                Some(error) => crate::store::is_away(error),
                None => matches!(
                    error.kind(),
                    K::StorageFull
                        | K::QuotaExceeded
                        | K::TimedOut
                        | K::ConnectionRefused
                        | K::ConnectionReset
                        | K::ConnectionAborted
                        | K::NotConnected
                        | K::HostUnreachable
                        | K::NetworkUnreachable
                        | K::NetworkDown
                ),
            },
            Self::Customer(_)
            | Self::At(..)
            | Self::NotFound(_)
            | Self::Mismatch
            | Self::Damaged(_)
            | Self::Elsewhere(_)
            | Self::Full(_) => false,
        }
    }

    /// What the bucket answers where it lets the server in nowhere, or is not there.
    pub fn refusal(&self) -> Option<String> {
        let Self::Store(error) = self else { return None };
        let said = cloud::said(error);
        let refused = ["401", "403", "404"].map(|code| format!("it answered {code}"));
        refused.iter().any(|text| said.starts_with(text)).then_some(said)
    }

    /// The same, and `other` in the place of the store's own.
    pub(super) fn map_store(self, other: impl FnOnce(object_store::Error) -> Self) -> Self {
        if let Self::Store(error) = self { other(error) } else { self }
    }

    /// The same, and `other` where bytes break off, or are more than was said.
    pub(super) fn map_broken(self, other: impl FnOnce(Self) -> Self) -> Self {
        if matches!(self, Self::Io(_) | Self::Mismatch) { other(self) } else { self }
    }

    /// The same, and `other` where a file is not there, or not as long as it was.
    pub(super) fn map_missing(self, other: impl FnOnce() -> Self) -> Self {
        if matches!(self, Self::NotFound(_) | Self::Mismatch) { other() } else { self }
    }
}

/// What a run's messages call an end of its data.
const fn name(end: &DataEnd) -> &'static str {
    match end {
        DataEnd::Source => "source",
        DataEnd::Destination => "destination",
    }
}

impl From<crate::store::Error> for Error {
    fn from(error: crate::store::Error) -> Self {
        Self::Io(std::io::Error::other(error))
    }
}
