//! The way to the server. Placeholder: nothing is ever connected.

use std::path::{Path, PathBuf};
use std::pin::Pin;

use common::digest::Digest;
use common::protocol::{BlobRequest, InputFile, Orders, Sync};
use common::task::Lease;
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;

pub struct Options {
    pub server: Vec<String>,
    pub key_file: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no connection to the server")]
    Disconnected,
    #[error("the server refused: {message}")]
    Refused { message: String, again: bool },
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    #[error("a file or a stream failed")]
    Io(#[from] std::io::Error),
}

impl Error {
    pub fn again(&self) -> bool {
        match self {
            Self::Disconnected | Self::Io(_) => true,
            Self::Refused { again, .. } => *again,
            Self::Protocol(_) => false,
        }
    }
}

pub struct Fetched {
    pub bytes: u64,
    pub digest: Option<Digest>,
    pub reader: Pin<Box<dyn AsyncRead + Send>>,
}

#[derive(Clone)]
pub struct Link;

impl Link {
    pub fn start(_: Options, _: CancellationToken) -> Result<Self, Error> {
        Ok(Self)
    }
    pub fn sign(&self, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }
    pub async fn sync(&self, _: Sync) -> Result<Orders, Error> {
        Err(Error::Disconnected)
    }
    pub async fn inputs(&self, _: Lease) -> Result<Vec<InputFile>, Error> {
        Err(Error::Disconnected)
    }
    pub async fn fetch(&self, _: BlobRequest) -> Result<Fetched, Error> {
        Err(Error::Disconnected)
    }
    pub async fn put(&self, _: Lease, _: u64, _: Digest, _: &Path) -> Result<(), Error> {
        Err(Error::Disconnected)
    }
}
