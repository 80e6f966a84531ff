//! A request's body as it arrives, and what becomes of one that nobody wants.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use sync_wrapper::SyncStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};
use warp::http::HeaderMap;
use warp::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

use super::serving::{Pace, Peer};
use crate::error::{Error, Result};

/// How much of a body is read and dropped after its request was answered. A connection that is
/// closed with unread bytes is reset, and many clients then never see the answer.
const DROPPED_BYTES_MAX: u64 = 1 << 30;
const DROPPED_FOR_MAX: Duration = Duration::from_secs(30);
/// A client that has read the answer sends no more.
const DROPPED_SILENCE: Duration = Duration::from_secs(5);

type Pieces = Pin<Box<dyn Stream<Item = std::result::Result<Bytes, warp::Error>> + Send + Sync>>;

/// A body on its way, and how slow it may be.
pub struct Arriving {
    pieces: Pieces,
    pace: Pace,
    peer: Option<Peer>,
    /// Whether there is nothing more to come, or nothing more to wait for.
    ended: bool,
}

impl Arriving {
    pub fn new<S, B>(body: S, headers: &HeaderMap, pace: Pace, peer: Option<Peer>) -> Self
    where
        S: Stream<Item = std::result::Result<B, warp::Error>> + Send + 'static,
        B: Buf,
    {
        let bytes = body.map_ok(|mut piece| piece.copy_to_bytes(piece.remaining()));
        let empty = headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0")
            && !headers.contains_key(TRANSFER_ENCODING);
        Self { pieces: Box::pin(SyncStream::new(bytes)), pace, peer, ended: empty }
    }

    /// The next piece.
    ///
    /// # Errors
    /// Where the body breaks off, or arrives too slowly.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        let begin = Instant::now();
        let piece = timeout(self.pace.left(), self.pieces.next()).await;
        self.pace.waited(begin.elapsed());
        match piece {
            Ok(Some(Ok(piece))) => {
                self.pace.moved(piece.len());
                if let Some(peer) = &self.peer {
                    peer.progress();
                }
                Some(Ok(piece))
            }
            Ok(None) => {
                self.ended = true;
                None
            }
            Ok(Some(Err(_))) => {
                self.ended = true;
                Some(Err(Error::field("body", "was cut off before its end")))
            }
            Err(_) => {
                self.ended = true;
                Some(Err(Error::TooSlow))
            }
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let mut pieces = std::mem::replace(&mut self.pieces, Box::pin(futures::stream::empty()));
        runtime.spawn(timeout(DROPPED_FOR_MAX, async move {
            let mut left = DROPPED_BYTES_MAX;
            while let Ok(Some(Ok(piece))) = timeout(DROPPED_SILENCE, pieces.next()).await {
                left = left.saturating_sub(piece.len() as u64);
                if left == 0 {
                    return;
                }
            }
        }));
    }
}
