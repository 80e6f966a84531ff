//! Takes the results of attempts: from the node, or by a link with which the node stores them in the
//! bucket itself.

use common::protocol::{BlobReply, OUTPUTS_MAX};
use common::run::task::Lease;
use futures::AsyncReadExt as _;
use libp2p::Stream;
use tokio::time::timeout;

use super::handler::{Blobs, Ended};
use super::transfer::{close, incoming, patience, say};
use crate::coordinator::leases::{Linked, LiveLease};
use crate::data;
use crate::data::bucket::blob_key::BlobKey;
use crate::data::bucket::upload_links::UploadLink;
use crate::metrics::TransferKind;
use crate::p2p::backend::Port;
use crate::p2p::refusal::Refusal;
use crate::p2p::sync::receipts::RESULTS_BYTES_MAX;

impl<P: Port> Blobs<P> {
    /// Takes a result file.
    pub(super) async fn take_result(
        &self,
        live: &LiveLease,
        lease: Lease,
        (expected, direct): (data::Stored, bool),
        mut stream: Stream,
    ) -> Result<(), Ended> {
        let data::Stored { size, digest } = expected;
        let key = BlobKey::Result { lease, digest };
        let is_stored = async {
            let is_stored = self.is_stored(&key, lease, expected).await?;
            if is_stored {
                count_linked(&self.port, live, lease, expected).await?;
            }
            Ok(is_stored)
        };
        match is_stored.await {
            Ok(true) => {
                self.stored.remember(lease, digest, size);
                say(&mut stream, &BlobReply::Stored).await?;
                return Ok(close(&mut stream).await?);
            }
            Ok(false) => {}
            Err(refusal) => return Err(Ended::Refused(refusal, stream)),
        }
        if direct {
            match self.link(live, lease, expected).await {
                Ok(Some(UploadLink { url, checksum })) => {
                    say(&mut stream, &BlobReply::Upload { url, checksum }).await?;
                    return Ok(close(&mut stream).await?);
                }
                Ok(None) => {}
                Err(refusal) => return Err(Ended::Refused(refusal, stream)),
            }
        }
        let Some(room) = Room::reserve(live, size) else {
            return Err(Ended::Refused(too_much(), stream));
        };
        say(&mut stream, &BlobReply::Ready).await?;
        let (from, mut to) = stream.split();
        let bytes = incoming(from, size);
        let bytes = Box::pin(self.metrics.transfers.counted(TransferKind::NodeResult, bytes));
        let put = self.port.put(live.spec.workspace, lease, expected, bytes);
        let reply = match timeout(patience(size), put).await {
            Ok(Ok(())) => {
                room.keep();
                // It is counted, whatever link was given for it.
                live.stored.count_linked(digest);
                self.stored.remember(lease, digest, size);
                BlobReply::Stored
            }
            Ok(Err(error)) => Refusal::from(error).into(),
            Err(_) => Refusal::later("the transfer took too long").into(),
        };
        say(&mut to, &reply).await?;
        Ok(close(&mut to).await?)
    }

    /// Where the node can store a file itself; `None` where it has to send it.
    async fn link(
        &self,
        live: &LiveLease,
        lease: Lease,
        expected: data::Stored,
    ) -> Result<Option<UploadLink>, Refusal> {
        let data::Stored { size, digest } = expected;
        let Some(link) = self.port.upload_link(lease, expected).await? else { return Ok(None) };
        match live.stored.link(digest, size, OUTPUTS_MAX, RESULTS_BYTES_MAX) {
            Linked::Yes => Ok(Some(link)),
            Linked::Many => Ok(None),
            Linked::Full => Err(too_much()),
        }
    }

    /// Whether a file is stored already.
    async fn is_stored(
        &self,
        key: &BlobKey,
        lease: Lease,
        expected: data::Stored,
    ) -> Result<bool, Refusal> {
        if self.stored.has(lease, expected.digest, expected.size) {
            return Ok(true);
        }
        Ok(self.port.size(key).await? == Some(expected.size))
    }
}

/// Counts a file against its workspace's quota that is there and came by a link, once.
///
/// # Errors
/// `Full` where there is no room for it; then its run ends.
pub async fn count_linked<P: Port>(
    port: &P,
    live: &LiveLease,
    lease: Lease,
    data::Stored { size, digest }: data::Stored,
) -> Result<(), data::Error> {
    if !live.stored.count_linked(digest) {
        return Ok(());
    }
    let counted = port.count_results(live.spec.workspace, lease.task.run, size).await;
    if counted.is_err() {
        live.stored.uncount_linked(digest);
    }
    counted
}

fn too_much() -> Refusal {
    Refusal::never(format!(
        "more results than {OUTPUTS_MAX} files or {RESULTS_BYTES_MAX} bytes together"
    ))
}

/// Room for a file that is on its way; given back unless the file is kept.
struct Room<'a> {
    live: &'a LiveLease,
    bytes: u64,
}

impl<'a> Room<'a> {
    fn reserve(live: &'a LiveLease, bytes: u64) -> Option<Self> {
        let fits = live.stored.reserve(bytes, OUTPUTS_MAX, RESULTS_BYTES_MAX);
        fits.then_some(Self { live, bytes })
    }

    fn keep(self) {
        // It holds nothing of its own.
        std::mem::forget(self);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.live.stored.give_back(self.bytes);
    }
}
