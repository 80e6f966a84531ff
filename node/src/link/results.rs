//! Storing results: sent to the server, or put into its bucket by a link.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use common::digest::Digest;
use common::error_chain::chain;
use common::protocol::{BlobReply, BlobRequest, CHECKSUM_HEADER};
use common::run::task::Lease;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use reqwest::header::CONTENT_LENGTH;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, sleep};
use tokio_util::io::ReaderStream;

use super::blob::{Channel, NOTICE, SILENCE, unexpected, was_dropped, within};
use super::{BucketError, Error, Link, frame};

/// How long the server, or its bucket, may take to store what it was sent.
const STORE_WAIT: Duration = Duration::from_secs(120);
/// How long an early answer may take to arrive after the server stopped reading.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long results go through the server after the bucket did not take one from this node.
const UPLOADS_PAUSE: Duration = Duration::from_secs(600);
const PIECE_BYTES: usize = 64 * 1024;
/// The same of an upload to the bucket.
const UPLOAD_PIECE_BYTES: usize = 256 * 1024;

impl Link {
    /// Stores a result file. Storing the same file again is cheap and does no harm.
    pub async fn put(
        &self,
        lease: Lease,
        size: u64,
        digest: Digest,
        file: &Path,
    ) -> Result<(), Error> {
        let ask = |direct| BlobRequest::Put { lease, size, digest, direct };
        self.noted(self.put_asked(ask, size, file)).await
    }

    async fn put_asked(
        &self,
        ask: impl Fn(bool) -> BlobRequest,
        size: u64,
        file: &Path,
    ) -> Result<(), Error> {
        let mut direct = self.can_upload();
        loop {
            let (channel, reply) = self.ask(&ask(direct)).await?;
            match reply {
                BlobReply::Stored => return Ok(()),
                BlobReply::Ready => return send_in(channel, file, size).await,
                BlobReply::Upload { url, checksum } if direct => {
                    drop(channel);
                    match self.upload(&url, &checksum, file, size).await {
                        Ok(()) => {}
                        Err(Error::Bucket(error)) => {
                            tracing::warn!(
                                error = %chain(&error),
                                "results go through the server for a while"
                            );
                            self.pause_uploads();
                        }
                        Err(error) => return Err(error),
                    }
                    // Now it is there, or it is to be sent.
                    direct = false;
                }
                BlobReply::Upload { .. }
                | BlobReply::Listing { .. }
                | BlobReply::Bytes { .. }
                | BlobReply::Redirect { .. }
                | BlobReply::Secrets(_)
                | BlobReply::PullToken(_)
                | BlobReply::Outdated
                | BlobReply::BucketAway
                | BlobReply::Refused { .. }
                | BlobReply::NoSource { .. } => return Err(unexpected(reply)),
            }
        }
    }

    fn can_upload(&self) -> bool {
        let until = *self.shared.no_uploads.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_none_or(|until| Instant::now() >= until)
    }

    fn pause_uploads(&self) {
        let until = Some(Instant::now() + UPLOADS_PAUSE);
        *self.shared.no_uploads.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Puts exactly `size` bytes of a file at a URL of the server's bucket. The URL is as good as a
    /// key: it is never logged, and no error carries it.
    async fn upload(&self, url: &str, checksum: &str, file: &Path, size: u64) -> Result<(), Error> {
        let barred = |refused| Error::Bucket(BucketError::barred(None, refused));
        let url = self.shared.guard.check(url).map_err(barred)?;
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        let file = tokio::fs::File::open(file).await?.take(size);
        let bytes = ReaderStream::with_capacity(file, UPLOAD_PIECE_BYTES).inspect(move |piece| {
            let bytes = piece.as_ref().map_or(0, |piece| piece.len() as u64);
            counted.fetch_add(bytes, Ordering::Relaxed);
        });
        let request = self.shared.http.put(url).header(CONTENT_LENGTH, size);
        let request = request.header(CHECKSUM_HEADER, checksum);
        let request = request.body(reqwest::Body::wrap_stream(bytes));
        let response = self.attended(request.send(), &sent, size).await;
        let response = response.map_err(|error| Error::Bucket(BucketError::silent(None, error)))?;
        self.note_bucket(false);
        if response.status().is_success() {
            Ok(())
        } else {
            Err(Error::Bucket(BucketError::refused(None, response).await))
        }
    }

    /// Waits for the answer to an upload while its bytes go, and notes where they do not. `None` is
    /// a bucket that is silent for too long.
    async fn attended(
        &self,
        answer: impl Future<Output = reqwest::Result<reqwest::Response>>,
        sent: &AtomicU64,
        size: u64,
    ) -> Result<reqwest::Response, Option<reqwest::Error>> {
        let mut answer = std::pin::pin!(answer);
        let (mut before, mut moved) = (0, Instant::now());
        loop {
            tokio::select! {
                answered = &mut answer => return answered.map_err(Some),
                () = sleep(NOTICE) => {}
            }
            let now = sent.load(Ordering::Relaxed);
            if now != before {
                (before, moved) = (now, Instant::now());
                self.note_bucket(false);
            } else if now < size {
                self.note_bucket(true);
            }
            let patience = if now < size { SILENCE } else { STORE_WAIT };
            if moved.elapsed() > patience {
                return Err(None);
            }
        }
    }
}

/// Sends a file to the server, which has asked for it.
async fn send_in(channel: Channel, file: &Path, size: u64) -> Result<(), Error> {
    let (mut from, to) = channel.stream.split();
    let mut answer = std::pin::pin!(frame::read::<BlobReply>(&mut from));
    // The server may answer before it has read everything: when its disk is full, for one.
    let reply = tokio::select! {
        biased;
        reply = &mut answer => reply,
        sent = send(file, size, to) => match sent {
            Ok(_open) => within(STORE_WAIT, answer).await,
            Err(Error::Io(error)) if was_dropped(&error) => {
                within(LAST_WORDS, answer).await.map_err(|_| Error::Io(error))
            }
            Err(error) => Err(error),
        },
    };
    let reply = reply?;
    if reply == BlobReply::Stored { Ok(()) } else { Err(unexpected(reply)) }
}

/// Sends exactly `size` bytes of a file, and gives the stream back so that it stays open.
async fn send<W: futures::AsyncWrite + Unpin>(
    file: &Path,
    size: u64,
    mut to: W,
) -> Result<W, Error> {
    let mut file = tokio::fs::File::open(file).await?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = size;
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let n = file.read(&mut piece[..room]).await?;
        if n == 0 {
            let short = io::Error::new(io::ErrorKind::InvalidData, "the file has become shorter");
            return Err(Error::Io(short));
        }
        within(SILENCE, async { Ok(to.write_all(&piece[..n]).await?) }).await?;
        left -= n as u64;
    }
    within(SILENCE, async { Ok(to.flush().await?) }).await?;
    Ok(to)
}
