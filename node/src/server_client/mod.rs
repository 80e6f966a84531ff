//! What the agent asks of its server: a trait, with the p2p link behind it and a double in tests.

pub mod transfer;

use std::path::Path;

use common::digest::Digest;
use common::protocol::{self, BlobReply, BlobRequest, Cache, CacheFile, InputFile, Orders};
use common::run::task::Lease;
use tokio::sync::watch;

use crate::link::{Error, Fetched, Link};

/// What a node asks of a server, and the signature under what it says.
pub trait ServerClient: Clone + Send + Sync + 'static {
    /// Signs with the node's identity key.
    fn sign(&self, bytes: &[u8]) -> Vec<u8>;

    fn sync(&self, message: protocol::Sync) -> impl Future<Output = Result<Orders, Error>> + Send;

    /// Whether the server's bucket was away when it was needed last.
    fn is_bucket_away(&self) -> watch::Receiver<bool>;

    fn inputs(&self, lease: Lease) -> impl Future<Output = Result<Vec<InputFile>, Error>> + Send;

    /// The files that were uploaded for a cache.
    fn cached(
        &self,
        lease: Lease,
        cache: Cache,
    ) -> impl Future<Output = Result<Vec<CacheFile>, Error>> + Send;

    /// Asks for what is no stream of bytes: secrets, or a pull token.
    fn reply(&self, request: BlobRequest) -> impl Future<Output = Result<BlobReply, Error>> + Send;

    fn fetch(&self, request: BlobRequest) -> impl Future<Output = Result<Fetched, Error>> + Send;

    fn put(
        &self,
        lease: Lease,
        size: u64,
        digest: Digest,
        file: &Path,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

impl ServerClient for Link {
    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.sign(bytes)
    }

    async fn sync(&self, message: protocol::Sync) -> Result<Orders, Error> {
        self.sync(message).await
    }

    fn is_bucket_away(&self) -> watch::Receiver<bool> {
        self.is_bucket_away()
    }

    async fn inputs(&self, lease: Lease) -> Result<Vec<InputFile>, Error> {
        self.inputs(lease).await
    }

    async fn cached(&self, lease: Lease, cache: Cache) -> Result<Vec<CacheFile>, Error> {
        self.cached(lease, cache).await
    }

    async fn reply(&self, request: BlobRequest) -> Result<BlobReply, Error> {
        self.reply(request).await
    }

    async fn fetch(&self, request: BlobRequest) -> Result<Fetched, Error> {
        self.fetch(request).await
    }

    async fn put(&self, lease: Lease, size: u64, digest: Digest, file: &Path) -> Result<(), Error> {
        self.put(lease, size, digest, file).await
    }
}
