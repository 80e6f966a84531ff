//! The data plane: Fanfold's bucket, the customers' sources and destinations, cutting and
//! folding. Everything streams; nothing is held whole in memory.

pub mod key;

use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use common::chunks::{ChunkTable, Object, Place};
use common::digest::Digest;
use common::ids::{RunId, WorkspaceId};
use common::spec::{Assembler, Partitioner, RunSpec, Source};
use futures::Stream;

use crate::secrets::Secrets;
use key::BlobKey;

pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// Reads, writes, cuts and folds; a cheap handle.
#[derive(Clone)]
pub struct Data {}

/// Where Fanfold's own bucket is, and what the server may reach.
#[derive(Debug, Clone)]
pub struct Options {
    pub bucket: Bucket,
    /// Whether URLs and endpoints of customers may lead to private and loopback addresses.
    pub allow_private_addresses: bool,
    /// The server's address as its users see it, without a final slash: links start with it.
    pub public_url: String,
    /// Signs the links of a bucket that cannot sign its own.
    pub link_key: [u8; 32],
}

#[derive(Debug, Clone)]
pub enum Bucket {
    Folder(std::path::PathBuf),
    S3 {
        bucket: String,
        region: String,
        endpoint: Option<String>,
        access_key: String,
        secret_key: String,
    },
}

/// Whose fault a failure is decides what happens next: a customer's ends the run with this text,
/// the world's is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The customer's source, destination or secret: the text tells them what to do.
    #[error("{0}")]
    Customer(String),
    #[error("there is no object {0}")]
    NotFound(String),
    #[error("the bytes do not have the digest or size that was announced")]
    Mismatch,
    #[error("the object store failed")]
    Store(#[from] object_store::Error),
    #[error("reading failed")]
    Io(#[from] std::io::Error),
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub size: u64,
    pub digest: Digest,
}

/// A result file on its way to the assembler or the destination.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultFile {
    /// Unique over the run.
    pub name: String,
    pub size: u64,
    pub digest: Option<Digest>,
    pub key: BlobKey,
}

pub type ResultFiles = Pin<Box<dyn Stream<Item = Result<ResultFile, Error>> + Send>>;

impl Data {
    pub async fn open(options: Options, secrets: Secrets) -> Result<Self, Error> {
        todo!()
    }

    // --- Fanfold's bucket ---

    /// Writes an object, whole or not at all.
    pub async fn put(&self, key: &BlobKey, bytes: ByteStream) -> Result<Stored, Error> {
        todo!()
    }

    /// Writes an object only if it has the announced size and digest.
    pub async fn put_verified(
        &self,
        key: &BlobKey,
        expected: Stored,
        bytes: ByteStream,
    ) -> Result<(), Error> {
        todo!()
    }

    /// The size of an object, or `None` where there is none.
    pub async fn size(&self, key: &BlobKey) -> Result<Option<u64>, Error> {
        todo!()
    }

    pub async fn get(&self, key: &BlobKey, range: Range<u64>) -> Result<ByteStream, Error> {
        todo!()
    }

    /// A URL from which anybody can download the object until the link ends.
    pub async fn download_link(
        &self,
        key: &BlobKey,
        file_name: &str,
        lives: Duration,
    ) -> Result<String, Error> {
        todo!()
    }

    /// A URL to which anybody can PUT the object until the link ends.
    pub async fn upload_link(&self, key: &BlobKey, lives: Duration) -> Result<String, Error> {
        todo!()
    }

    /// Removes everything of a run.
    pub async fn purge_run(&self, run: RunId) -> Result<(), Error> {
        todo!()
    }

    // --- Sources ---

    /// Looks at a source: its objects and their sizes. One that cannot be read by ranges is staged
    /// in the bucket for `run`.
    pub async fn resolve(
        &self,
        run: RunId,
        owner: WorkspaceId,
        source: &Source,
    ) -> Result<Vec<Object>, Error> {
        todo!()
    }

    /// Cuts objects with a built-in partitioner: small range reads, no copies.
    pub async fn partition(
        &self,
        spec: &RunSpec,
        partitioner: Partitioner,
        objects: Vec<Object>,
    ) -> Result<ChunkTable, Error> {
        todo!()
    }

    /// Bytes of an object that a run reads.
    pub async fn read(
        &self,
        spec: &RunSpec,
        object: &Object,
        range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        todo!()
    }

    /// A URL from which a node can read the object itself, or `None` where it must be passed on.
    pub async fn direct(&self, spec: &RunSpec, place: &Place) -> Result<Option<String>, Error> {
        todo!()
    }

    // --- Folding ---

    /// Folds result files with a built-in assembler and gives the final files. Passthrough gives
    /// its input; the others write one object. Doing it twice gives the same.
    pub async fn assemble(
        &self,
        run: RunId,
        assembler: &Assembler,
        files: ResultFiles,
    ) -> Result<ResultFiles, Error> {
        todo!()
    }

    /// Copies a final file to the run's destination (not called for the temporary bucket and
    /// bypass). Doing it twice gives the same.
    pub async fn deliver(&self, spec: &RunSpec, file: &ResultFile) -> Result<(), Error> {
        todo!()
    }
}
