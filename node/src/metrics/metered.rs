//! A server's client whose messages and bytes are counted.

use std::path::Path;
use std::sync::Arc;

use common::digest::Digest;
use common::protocol::{self, BlobReply, BlobRequest, Cache, CacheFile, InputFile, Orders};
use common::run::task::Lease;
use tokio::sync::watch;
use tokio_util::io::InspectReader;

use super::NodeMetrics;
use crate::link::{Error, Fetched};
use crate::server_client::ServerClient;

/// A client that does what the one inside does.
#[derive(Debug, Clone)]
pub struct Metered<R> {
    inner: R,
    metrics: Arc<NodeMetrics>,
}

impl<R> Metered<R> {
    pub const fn new(inner: R, metrics: Arc<NodeMetrics>) -> Self {
        Self { inner, metrics }
    }
}

impl<R: ServerClient> ServerClient for Metered<R> {
    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.inner.sign(bytes)
    }

    async fn sync(&self, message: protocol::Sync) -> Result<Orders, Error> {
        let answer = self.inner.sync(message).await;
        self.metrics.synced(answer.is_ok());
        answer
    }

    fn is_bucket_away(&self) -> watch::Receiver<bool> {
        self.inner.is_bucket_away()
    }

    async fn inputs(&self, lease: Lease) -> Result<Vec<InputFile>, Error> {
        self.inner.inputs(lease).await
    }

    async fn cached(&self, lease: Lease, cache: Cache) -> Result<Vec<CacheFile>, Error> {
        self.inner.cached(lease, cache).await
    }

    async fn reply(&self, request: BlobRequest) -> Result<BlobReply, Error> {
        self.inner.reply(request).await
    }

    async fn fetch(&self, request: BlobRequest) -> Result<Fetched, Error> {
        let counter = self.metrics.fetched.with_label_values(&[kind_of(&request)]);
        let Fetched { bytes, digest, reader } = self.inner.fetch(request).await?;
        let counted = move |piece: &[u8]| counter.inc_by(piece.len() as u64);
        let reader = Box::pin(InspectReader::new(reader, counted));
        Ok(Fetched { bytes, digest, reader })
    }

    async fn put(&self, lease: Lease, size: u64, digest: Digest, file: &Path) -> Result<(), Error> {
        self.inner.put(lease, size, digest, file).await?;
        self.metrics.stored.inc_by(size);
        Ok(())
    }
}

const fn kind_of(request: &BlobRequest) -> &'static str {
    match request {
        BlobRequest::Package { .. } => "package",
        BlobRequest::Image { .. } => "image",
        BlobRequest::CacheFile { .. } => "cache",
        BlobRequest::Input { .. } => "input",
        BlobRequest::Inputs { .. }
        | BlobRequest::Cached { .. }
        | BlobRequest::Secrets { .. }
        | BlobRequest::Container { .. }
        | BlobRequest::PullToken { .. }
        | BlobRequest::Put { .. } => "other",
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::testing::{FakeServer, lease};

    #[tokio::test]
    async fn bytes_and_messages_are_counted_as_they_pass() {
        let (server, mut syncs) = FakeServer::new();
        server.state().package = b"package".to_vec();
        let metrics = NodeMetrics::new();
        let client = Metered::new(server, Arc::clone(&metrics));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("result");
        std::fs::write(&file, b"result").unwrap();

        let request = BlobRequest::Package { lease: lease(0), from: 0 };
        let mut reader = client.fetch(request).await.unwrap().reader;
        reader.read_to_end(&mut Vec::new()).await.unwrap();
        client.put(lease(0), 6, Digest::of(b"result"), &file).await.unwrap();
        let answering = async { drop(syncs.recv().await) };
        let (synced, ()) = tokio::join!(client.sync(common::testing::sync()), answering);

        assert!(synced.is_err());
        let text = metrics.render();
        for line in [
            "fanfold_node_fetched_bytes_total{kind=\"package\"} 7",
            "fanfold_node_stored_bytes_total 6",
            "fanfold_node_syncs_total{result=\"failed\"} 1",
            "fanfold_node_last_sync_timestamp_seconds 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
