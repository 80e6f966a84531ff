//! Answers blob requests: one stream, one request, under a lease that the asking node holds.

use std::io;
use std::sync::Arc;

use common::error_chain::chain;
use common::ids::{NodeId, RunId};
use common::plan::CHUNK_FILE;
use common::protocol::{BlobReply, BlobRequest, InputFile};
use common::run::task::{Lease, StageNo};
use futures::io::BufWriter;
use libp2p::{PeerId, Stream};

use super::frame::{self, Error};
use super::known_results::Stored;
use super::lease_resources;
use super::own_container;
use super::result_index;
use super::result_index::Results;
use super::source;
use super::source::Found;
use super::transfer::{close, read_request, say, send, send_list};
use crate::coordinator::leases::{LiveInputs, LiveLease};
use crate::data;
use crate::data::bucket::blob_key::BlobKey;
use crate::metrics::{Metrics, TransferKind};
use crate::p2p::backend::Port;
use crate::p2p::peer_limits::PeerLimit;
use crate::p2p::peers::Peers;
use crate::p2p::refusal::Refusal;

/// Transfers of one node, and of all.
const TRANSFERS_PER_PEER_MAX: usize = 8;
const TRANSFERS_MAX: usize = 256;

#[derive(Clone)]
pub struct Blobs<P> {
    pub port: P,
    pub peers: Peers<P>,
    pub stored: Stored,
    pub results: Results<P>,
    /// Only those who hold a lease are let in here.
    transfers: PeerLimit,
    pub(super) metrics: Arc<Metrics>,
}

impl<P: Port> Blobs<P> {
    pub fn new(
        port: P,
        peers: Peers<P>,
        stored: Stored,
        results: Results<P>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let transfers = PeerLimit::new(TRANSFERS_PER_PEER_MAX, TRANSFERS_MAX);
        Self { port, peers, stored, results, transfers, metrics }
    }

    /// Serves one stream of a node to its end.
    pub async fn serve(&self, peer: PeerId, mut stream: Stream) {
        let served = async {
            let request = read_request(&mut stream).await?;
            match self.answer(peer, request, stream).await {
                Ok(()) => Ok(()),
                Err(Ended::Stream(error)) => Err(error),
                Err(Ended::Refused(refusal, mut stream)) => {
                    tracing::debug!(%peer, error = %refusal, "blob request refused");
                    say(&mut stream, &BlobReply::from(refusal)).await?;
                    close(&mut stream).await
                }
            }
        };
        if let Err(error) = served.await {
            tracing::debug!(%peer, error = %chain(&error), "blob stream broken off");
        }
    }

    async fn answer(
        &self,
        peer: PeerId,
        request: BlobRequest,
        stream: Stream,
    ) -> Result<(), Ended> {
        let lease = request.lease();
        let live = match self.live(peer, lease).await {
            Ok(live) => live,
            Err(refusal) => return Err(Ended::Refused(refusal, stream)),
        };
        let Some(_place) = self.transfers.enter(peer) else {
            return Err(Ended::Refused(crowded(), stream));
        };
        let kind = kind_of(&request);
        let found = match request {
            BlobRequest::Inputs { .. } => return self.list(&live, lease, stream).await,
            BlobRequest::Put { size, digest, direct, .. } => {
                let expected = data::Stored { size, digest };
                return self.take_result(&live, lease, (expected, direct), stream).await;
            }
            BlobRequest::Package { from, .. } => source::package(&self.port, &live, from).await,
            BlobRequest::Image { n, from, .. } => source::image(&self.port, &live, n, from).await,
            BlobRequest::Cached { cache, .. } => {
                return match lease_resources::cached(&self.port, &live, cache).await {
                    Ok(files) => {
                        let n = u32::try_from(files.len()).unwrap_or(u32::MAX);
                        Ok(send_list(n, files.into_iter(), stream).await?)
                    }
                    Err(refusal) => Err(Ended::Refused(refusal, stream)),
                };
            }
            BlobRequest::CacheFile { cache, name, version, from, .. } => {
                lease_resources::cache_file(&self.port, &live, (cache, name, version), from).await
            }
            BlobRequest::Secrets { .. } => lease_resources::secrets(&self.port, &live).await,
            BlobRequest::Container { .. } => own_container::own_container(&self.port, &live).await,
            BlobRequest::PullToken { n, .. } => {
                lease_resources::pull_token(&self.port, &live, n).await
            }
            BlobRequest::Input { n, from, .. } => self.input(&live, lease, n, from).await,
        };
        match found {
            Ok(found) => Ok(send(self.counted(kind, found), stream).await?),
            Err(refusal) => Err(Ended::Refused(refusal, stream)),
        }
    }

    /// What was found, whose bytes are counted when they are passed on.
    fn counted(&self, kind: TransferKind, found: Found) -> Found {
        match found {
            Found::Said(reply) => Found::Said(reply),
            Found::Here { bytes, digest, stream } => {
                let stream = Box::pin(self.metrics.transfers.counted(kind, stream));
                Found::Here { bytes, digest, stream }
            }
        }
    }

    /// The lease, if the peer is a node that holds it.
    async fn live(&self, peer: PeerId, lease: Lease) -> Result<Arc<LiveLease>, Refusal> {
        let node: Option<NodeId> = self.peers.find(peer).await?;
        let node = node.ok_or_else(unknown)?;
        let live = self.port.lease(node, lease);
        live.ok_or(Refusal::Outdated)
    }

    async fn input(
        &self,
        live: &LiveLease,
        lease: Lease,
        n: u32,
        from: u64,
    ) -> Result<Found, Refusal> {
        match &live.inputs {
            LiveInputs::Chunk { .. } | LiveInputs::Source { .. } | LiveInputs::None => {
                source::source(&self.port, live, n, from).await
            }
            LiveInputs::Results { stage, .. } => {
                let output = self.results.get((lease.task.run, *stage), n).await?;
                let key = BlobKey::Result { lease: output.lease, digest: output.digest };
                source::result(&self.port, live, key, output.size, output.digest, from).await
            }
        }
    }

    /// Sends the list of a lease's input files.
    async fn list(&self, live: &LiveLease, lease: Lease, stream: Stream) -> Result<(), Ended> {
        match &live.inputs {
            LiveInputs::Results { stage, tasks } => {
                self.list_results((lease.task.run, *stage), *tasks, stream).await
            }
            LiveInputs::None => Ok(send_list(0, std::iter::empty::<InputFile>(), stream).await?),
            LiveInputs::Source { table } => {
                let objects = table.objects();
                Ok(send_list(objects.len(), source::source_files(objects), stream).await?)
            }
            LiveInputs::Chunk { table, index } => {
                let chunk = table.get(*index);
                let file = chunk.map(|chunk| InputFile {
                    name: CHUNK_FILE.to_owned(),
                    size: chunk.len(),
                    digest: None,
                });
                Ok(send_list(u32::from(file.is_some()), file.into_iter(), stream).await?)
            }
        }
    }

    async fn list_results(
        &self,
        of: (RunId, StageNo),
        tasks: u32,
        stream: Stream,
    ) -> Result<(), Ended> {
        let index = match self.results.index(of).await {
            Ok(index) => index,
            Err(refusal) => return Err(Ended::Refused(refusal, stream)),
        };
        let mut stream = BufWriter::new(stream);
        frame::write(&mut stream, &BlobReply::Listing { files: index.files() }).await?;
        for page in 0..index.pages() {
            // In the middle of a list there is no way to refuse but to end it.
            let (first, rows) = self.results.page(of, &index, page).await.map_err(broken)?;
            for (n, output) in (first..).zip(rows.iter()) {
                frame::write(&mut stream, &result_index::input_file(n, tasks, output)).await?;
            }
        }
        Ok(close(&mut stream).await?)
    }
}

/// What the bytes are that a request moves.
const fn kind_of(request: &BlobRequest) -> TransferKind {
    match request {
        BlobRequest::Package { .. } => TransferKind::NodePackage,
        BlobRequest::Image { .. } => TransferKind::NodeImage,
        BlobRequest::CacheFile { .. } => TransferKind::NodeCache,
        BlobRequest::Put { .. } => TransferKind::NodeResult,
        BlobRequest::Input { .. }
        | BlobRequest::Inputs { .. }
        | BlobRequest::Cached { .. }
        | BlobRequest::Secrets { .. }
        | BlobRequest::Container { .. }
        | BlobRequest::PullToken { .. } => TransferKind::NodeInput,
    }
}

/// Why a request was not answered with what it asked for.
pub(super) enum Ended {
    /// The peer went, or what was being sent broke off.
    Stream(Error),
    /// The peer is owed a reply.
    Refused(Refusal, Stream),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Stream(error)
    }
}

fn broken(refusal: Refusal) -> Error {
    Error::Io(io::Error::other(refusal))
}

pub fn crowded() -> Refusal {
    Refusal::later("too many streams at once")
}

pub fn unknown() -> Refusal {
    Refusal::never("this node has not joined")
}

/// Answers whatever a peer asks with a refusal.
pub async fn turn_away(mut stream: Stream, refusal: Refusal) {
    let said = async {
        read_request(&mut stream).await?;
        say(&mut stream, &refusal.into()).await?;
        close(&mut stream).await
    };
    // A peer that does not listen has lost nothing.
    let _ = said.await;
}
