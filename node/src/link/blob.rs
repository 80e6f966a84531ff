//! Bytes to and from the server: one stream for each request.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use common::digest::Digest;
use common::protocol::{
    BLOB_PROTOCOL, BlobReply, BlobRequest, Cache, CacheFile, InputFile, Version,
};
use common::run::task::Lease;
use futures::TryStreamExt as _;
use libp2p::{Stream, StreamProtocol};
use libp2p_stream::OpenStreamError;
use reqwest::{StatusCode, header};
use serde::de::DeserializeOwned;
use tokio::io::AsyncRead;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;
use tokio_util::io::StreamReader;

use super::exact_reader::ExactReader;
use super::watched_reader::{self, WatchedReader};
use super::{BucketError, Error, Link, bucket, frame};

/// No byte for this time is a failure.
pub(super) const SILENCE: Duration = Duration::from_secs(60);
/// A bucket that gives no answer for this time is said to be away.
pub(super) const NOTICE: Duration = Duration::from_secs(5);
/// Times that a stream is opened again because it ended without an answer: a busy server drops
/// streams that it could not take at once.
const OPENS_MAX: u32 = 10;

/// Bytes on their way in.
pub struct Fetched {
    /// What `reader` gives: exactly `bytes` bytes, or an error.
    pub bytes: u64,
    /// Of the whole, not of the part that was asked for; `None` where the server does not know.
    pub digest: Option<Digest>,
    pub reader: Pin<Box<dyn AsyncRead + Send>>,
}

/// A stream and its place among those that may be open.
pub(super) struct Channel {
    pub(super) stream: Stream,
    permit: OwnedSemaphorePermit,
}

impl Link {
    /// The list of a lease's input files. It does not come from the bucket.
    pub async fn inputs(&self, lease: Lease) -> Result<Vec<InputFile>, Error> {
        self.list(&BlobRequest::Inputs { lease }).await
    }

    /// The list of the files that were uploaded for a cache.
    pub async fn cached(&self, lease: Lease, cache: Cache) -> Result<Vec<CacheFile>, Error> {
        self.noted(self.list(&BlobRequest::Cached { lease, cache })).await
    }

    /// Notes whether the server's bucket is away, as far as this call tells.
    pub(super) async fn noted<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let done = call.await;
        match &done {
            Ok(_) => self.note_bucket(false),
            Err(Error::BucketAway) => self.note_bucket(true),
            Err(Error::Bucket(error)) if error.object.is_none() && error.again() => {
                self.note_bucket(true);
            }
            Err(_) => {}
        }
        done
    }

    /// Notes that the server's bucket is away when it does not answer for a while.
    async fn noticed<T>(&self, is_own: bool, answer: impl Future<Output = T>) -> T {
        let mut answer = std::pin::pin!(answer);
        if let Ok(done) = timeout(NOTICE, &mut answer).await {
            return done;
        }
        if is_own {
            self.note_bucket(true);
        }
        answer.await
    }

    pub(super) fn note_bucket(&self, is_away: bool) {
        watched_reader::note(&self.shared.is_bucket_away, is_away);
    }

    /// Whether the server's bucket was away when it was needed last.
    pub fn is_bucket_away(&self) -> watch::Receiver<bool> {
        self.shared.is_bucket_away.subscribe()
    }

    /// Asks for what comes in the reply itself.
    pub async fn reply(&self, request: BlobRequest) -> Result<BlobReply, Error> {
        let (_channel, reply) = self.ask(&request).await?;
        Ok(reply)
    }

    async fn list<T: DeserializeOwned>(&self, request: &BlobRequest) -> Result<Vec<T>, Error> {
        let (channel, reply) = self.ask(request).await?;
        let BlobReply::Listing { files } = reply else {
            return Err(unexpected(reply));
        };
        let mut stream = futures::io::BufReader::new(channel.stream);
        // The number is the server's word; the memory is ours.
        let mut list = Vec::with_capacity(files.min(4096) as usize);
        for _ in 0..files {
            list.push(within(SILENCE, frame::read(&mut stream)).await?);
        }
        Ok(list)
    }

    /// Asks for bytes, from the server or from where it points.
    pub async fn fetch(&self, request: BlobRequest) -> Result<Fetched, Error> {
        self.noted(self.fetch_once(request)).await
    }

    async fn fetch_once(&self, request: BlobRequest) -> Result<Fetched, Error> {
        let (channel, reply) = self.ask(&request).await?;
        match reply {
            BlobReply::Bytes { bytes, digest } => {
                let reader = Kept {
                    reader: ExactReader::new(channel.stream.compat(), bytes, SILENCE),
                    _permit: channel.permit,
                };
                Ok(Fetched { bytes, digest, reader: Box::pin(reader) })
            }
            BlobReply::Redirect { url, from, to, digest, version, object } => {
                drop(channel);
                let bytes = to.checked_sub(from).ok_or_else(|| {
                    Error::Protocol(format!("a redirect to the bytes {from}..{to}"))
                })?;
                let reader = self.follow(&url, from, to, version, object).await?;
                Ok(Fetched { bytes, digest, reader })
            }
            BlobReply::Listing { .. }
            | BlobReply::Secrets(_)
            | BlobReply::PullToken(_)
            | BlobReply::Ready
            | BlobReply::Upload { .. }
            | BlobReply::Stored
            | BlobReply::Outdated
            | BlobReply::BucketAway
            | BlobReply::Refused { .. }
            | BlobReply::NoSource { .. } => Err(unexpected(reply)),
        }
    }

    /// Opens a stream, asks, and reads the reply. A refusal is an error.
    pub(super) async fn ask(&self, request: &BlobRequest) -> Result<(Channel, BlobReply), Error> {
        let mut opens = 0;
        loop {
            let mut channel = self.open().await?;
            let asked = async {
                frame::write(&mut channel.stream, request).await?;
                frame::read(&mut channel.stream).await
            };
            opens += 1;
            match within(SILENCE, asked).await {
                Ok(
                    reply @ (BlobReply::Refused { .. }
                    | BlobReply::NoSource { .. }
                    | BlobReply::Outdated
                    | BlobReply::BucketAway),
                ) => return Err(unexpected(reply)),
                Ok(reply) => return Ok((channel, reply)),
                Err(Error::Io(error)) if was_dropped(&error) && opens < OPENS_MAX => {
                    drop(channel);
                    let pause = rand::random_range(5..=20) << opens.min(5);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn open(&self) -> Result<Channel, Error> {
        let shared = &self.shared;
        let permit = shared.streams.clone().acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let server = self.connected().await?;
        let mut control = shared.control.lock().await;
        let opening = control.open_stream(server, StreamProtocol::new(BLOB_PROTOCOL));
        let stream = match timeout(SILENCE, opening).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(OpenStreamError::UnsupportedProtocol(protocol))) => {
                return Err(Error::Protocol(format!("it does not offer {protocol}")));
            }
            Ok(Err(_)) | Err(_) => return Err(Error::Disconnected),
        };
        Ok(Channel { stream, permit })
    }

    /// Reads `from..to` of a URL that the server gave. The URL is as good as a key: it is never
    /// logged, and no error carries it.
    async fn follow(
        &self,
        url: &str,
        from: u64,
        to: u64,
        version: Option<Version>,
        object: Option<String>,
    ) -> Result<Pin<Box<dyn AsyncRead + Send>>, Error> {
        if from == to {
            return Ok(Box::pin(tokio::io::empty()));
        }
        let url = match self.shared.guard.check(url) {
            Ok(url) => url,
            Err(refused) => return Err(Error::Bucket(BucketError::barred(object, refused))),
        };
        let request = self.shared.http.get(url);
        let mut request = request.header(header::RANGE, format!("bytes={from}-{}", to - 1));
        if let Some(version) = &version {
            request = request.header(header::IF_MATCH, &version.etag);
        }
        let is_own = object.is_none();
        let response = timeout(SILENCE, self.noticed(is_own, request.send())).await;
        let response = match response.map_err(|_| None).and_then(|sent| sent.map_err(Some)) {
            Ok(response) => response,
            Err(error) => return Err(Error::Bucket(BucketError::silent(object, error))),
        };
        if let Some(version) = version.filter(|version| is_another(&response, version)) {
            let path = version.path;
            let message =
                format!("the file {path:?} has changed since the run started; run the job again");
            return Err(Error::Refused { message, again: false });
        }
        if !bucket::gives(response.status(), response.headers(), from, to) {
            return Err(Error::Bucket(BucketError::refused(object, response).await));
        }
        let bytes = response.bytes_stream().map_err(|error| io::Error::other(error.without_url()));
        let reader = StreamReader::new(Box::pin(bytes));
        if !is_own {
            return Ok(Box::pin(ExactReader::new(reader, to - from, SILENCE)));
        }
        let reader = WatchedReader::new(reader, self.shared.is_bucket_away.clone(), NOTICE);
        Ok(Box::pin(ExactReader::new(reader, to - from, SILENCE)))
    }
}

/// Whether a bucket gives another version than was asked for. Not every one heeds the condition.
fn is_another(response: &reqwest::Response, version: &Version) -> bool {
    let etag = response.headers().get(header::ETAG);
    let other = etag.is_some_and(|etag| etag.as_bytes() != version.etag.as_bytes());
    response.status() == StatusCode::PRECONDITION_FAILED || response.status().is_success() && other
}

pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(Error::Io(io::ErrorKind::TimedOut.into())))
}

/// Whether this is how a stream looks that the server dropped.
pub(super) fn was_dropped(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::UnexpectedEof | K::WriteZero | K::BrokenPipe | K::ConnectionReset | K::ConnectionAborted
    )
}

pub(super) fn unexpected(reply: BlobReply) -> Error {
    match reply {
        BlobReply::Refused { message, again } => Error::Refused { message, again },
        BlobReply::NoSource { message } => Error::Source(message),
        BlobReply::Outdated => Error::Outdated,
        BlobReply::BucketAway => Error::BucketAway,
        BlobReply::Listing { .. } => Error::Protocol("an unexpected listing".to_owned()),
        BlobReply::Bytes { .. } => Error::Protocol("unexpected bytes".to_owned()),
        BlobReply::Redirect { .. } => Error::Protocol("an unexpected redirect".to_owned()),
        BlobReply::Secrets(_) => Error::Protocol("unexpected secrets".to_owned()),
        BlobReply::PullToken(_) => Error::Protocol("an unexpected token".to_owned()),
        BlobReply::Ready | BlobReply::Upload { .. } => {
            Error::Protocol("an unexpected go-ahead".to_owned())
        }
        BlobReply::Stored => Error::Protocol("an unexpected receipt".to_owned()),
    }
}

/// A reader that keeps its place among the open streams until it is dropped.
struct Kept<R> {
    reader: R,
    _permit: OwnedSemaphorePermit,
}

impl<R: AsyncRead + Unpin> AsyncRead for Kept<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buf)
    }
}
