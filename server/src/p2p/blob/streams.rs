//! Takes blob streams as fast as they come: libp2p drops those that are not taken at once.

use std::time::Duration;

use futures::StreamExt as _;
use libp2p::{PeerId, Stream};
use libp2p_stream::IncomingStreams;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::handler;
use super::handler::Blobs;
use crate::p2p::backend::Port;
use crate::p2p::peer_limits::PeerLimit;

/// Streams of one node. It asks for fewer, so that one it has ended costs the next no refusal.
const PER_PEER_MAX: usize = 8;
/// Streams of all nodes. One that has not shown a lease holds nothing but a little memory.
const ALL_MAX: usize = 16_384;
/// Streams of peers that are not known to have joined, and the longest that one takes to look up.
const STRANGERS_MAX: usize = 64;
const STRANGER_TIMEOUT: Duration = Duration::from_secs(5);
/// Streams that are turned away at once.
const AWAY_MAX: usize = 256;

pub async fn take<P: Port>(
    mut incoming: IncomingStreams,
    blobs: Blobs<P>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let open = PeerLimit::new(PER_PEER_MAX, ALL_MAX);
    let strangers = PeerLimit::new(1, STRANGERS_MAX);
    let away = PeerLimit::new(PER_PEER_MAX, AWAY_MAX);
    while let Some(Some((peer, stream))) = stop.run_until_cancelled(incoming.next()).await {
        let joined = blobs.peers.known(peer).is_some();
        let (stop, blobs, all) = (stop.clone(), blobs.clone(), open.clone());
        if let Some(pass) = if joined { &open } else { &strangers }.enter(peer) {
            tasks.spawn(async move {
                let _pass = pass;
                let served = async {
                    if joined {
                        blobs.serve(peer, stream).await;
                    } else {
                        look_up(peer, stream, &blobs, &all).await;
                    }
                };
                stop.run_until_cancelled(served).await;
            });
        } else if let Some(pass) = away.enter(peer) {
            tasks.spawn(async move {
                let _pass = pass;
                stop.run_until_cancelled(handler::turn_away(stream, handler::crowded())).await;
            });
        } else {
            tracing::debug!(%peer, "blob stream dropped");
        }
    }
}

/// Serves the stream of a node that has joined before this server started.
async fn look_up<P: Port>(peer: PeerId, stream: Stream, blobs: &Blobs<P>, open: &PeerLimit) {
    match timeout(STRANGER_TIMEOUT, blobs.peers.find(peer)).await {
        Ok(Ok(Some(_))) => match open.enter(peer) {
            Some(_pass) => blobs.serve(peer, stream).await,
            None => handler::turn_away(stream, handler::crowded()).await,
        },
        Ok(Ok(None)) => handler::turn_away(stream, handler::unknown()).await,
        Ok(Err(_)) | Err(_) => handler::turn_away(stream, handler::crowded()).await,
    }
}
