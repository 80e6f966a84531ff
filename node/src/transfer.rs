//! Moves files from and to the server; goes on where it was when the connection comes back.

use std::path::Path;
use std::time::Duration;

use common::digest::{Digest, Digester};
use common::protocol::{BlobReply, BlobRequest, Cache, CacheFile, InputFile};
use common::secret::{Hidden, Secret};
use common::task::Lease;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

use crate::backoff::Backoff;
use crate::link;
use crate::remote::Remote;

/// A transfer that moves no byte for so long is tried again.
const STALL: Duration = Duration::from_secs(60);
/// How often bytes that are not what they should be are fetched anew.
const SPOILED_MAX: u32 = 3;
/// How often a connected server, or the bucket it points to, may fail to give one byte more.
/// Somebody else's bucket must not keep an attempt here for ever. With pauses of up to 15 seconds
/// this is some minutes.
const FRUITLESS_MAX: u32 = 40;
/// How often a token to pull an image is asked for, where the server has none now.
const TOKENS_REFUSED_MAX: u32 = 4;
const BUFFER_BYTES: usize = 256 * 1024;

/// The transfer will not succeed by trying longer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the server does not hand it over")]
    Link(#[source] link::Error),
    #[error("the bytes are not the ones they should be")]
    Spoiled,
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    #[error("the node's disk")]
    Disk(#[source] std::io::Error),
}

impl Error {
    /// Why the server refuses for good, if it does.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Link(link::Error::Refused { message, again: false }) => Some(message),
            Self::Link(_) | Self::Spoiled | Self::TooLarge(_) | Self::Disk(_) => None,
        }
    }
}

/// What is known of a file before it is fetched.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    pub bytes: Option<u64>,
    pub digest: Option<Digest>,
    pub bytes_max: u64,
}

/// Fetches what `request(from)` asks for into a new file. A lost connection to the server is
/// waited for as long as the caller waits.
pub async fn fetch<R: Remote>(
    remote: &R,
    request: impl Fn(u64) -> BlobRequest,
    to: &Path,
    expected: Expected,
) -> Result<(), Error> {
    fetch_with(Backoff::of_transfers(), remote, request, to, expected).await
}

async fn fetch_with<R: Remote>(
    mut backoff: Backoff,
    remote: &R,
    request: impl Fn(u64) -> BlobRequest,
    to: &Path,
    expected: Expected,
) -> Result<(), Error> {
    let (mut spoiled, mut fruitless) = (0, 0);
    loop {
        let mut download = Download::create(to, expected).await?;
        let error = loop {
            let before = download.bytes;
            match download.go_on(remote, &request).await {
                Ok(()) => return Ok(()),
                Err(Error::Link(error)) if error.again() => {
                    tracing::debug!(%error, bytes = download.bytes, "a download broke off");
                    if download.bytes > before {
                        backoff.reset();
                        fruitless = 0;
                    } else if !matches!(error, link::Error::Disconnected) {
                        fruitless += 1;
                        if fruitless == FRUITLESS_MAX {
                            break Error::Link(error);
                        }
                    }
                    sleep(backoff.step()).await;
                }
                Err(error) => break error,
            }
        };
        spoiled += 1;
        if !matches!(error, Error::Spoiled) || spoiled == SPOILED_MAX {
            return Err(error);
        }
        sleep(backoff.step()).await;
    }
}

/// The files of a lease.
pub async fn inputs<R: Remote>(remote: &R, lease: Lease) -> Result<Vec<InputFile>, Error> {
    patiently(|| remote.inputs(lease)).await
}

/// The files that were uploaded for a cache.
pub async fn cached<R: Remote>(
    remote: &R,
    lease: Lease,
    cache: Cache,
) -> Result<Vec<CacheFile>, Error> {
    patiently(|| remote.cached(lease, cache)).await
}

/// The secrets of a lease's package.
pub async fn secrets<R: Remote>(remote: &R, lease: Lease) -> Result<Vec<Secret>, Error> {
    let reply = patiently(|| remote.reply(BlobRequest::Secrets { lease })).await?;
    if let BlobReply::Secrets(secrets) = reply { Ok(secrets) } else { Err(other("secrets")) }
}

/// What pulls a lease's image; `None` where nothing is needed. A registry that gives the server no
/// token is not waited for.
pub async fn pull_token<R: Remote>(remote: &R, lease: Lease) -> Result<Option<Hidden>, Error> {
    let mut backoff = Backoff::of_transfers();
    let mut refused = 0;
    loop {
        match remote.reply(BlobRequest::PullToken { lease }).await {
            Ok(BlobReply::PullToken(token)) => return Ok(token),
            Ok(_) => return Err(other("a token")),
            Err(link::Error::Refused { message, again }) => {
                refused += 1;
                if !again || refused == TOKENS_REFUSED_MAX {
                    return Err(Error::Link(link::Error::Refused { message, again: false }));
                }
            }
            Err(error) if error.again() => {}
            Err(error) => return Err(Error::Link(error)),
        }
        sleep(backoff.step()).await;
    }
}

fn other(wanted: &str) -> Error {
    Error::Link(link::Error::Protocol(format!("an answer without {wanted}")))
}

/// Asks until there is an answer that asking again does not change.
async fn patiently<T, F>(ask: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, link::Error>>,
{
    let mut backoff = Backoff::of_transfers();
    loop {
        match ask().await {
            Err(error) if error.again() => sleep(backoff.step()).await,
            other => return other.map_err(Error::Link),
        }
    }
}

/// Stores a file on the server.
pub async fn put<R: Remote>(
    remote: &R,
    lease: Lease,
    size: u64,
    digest: Digest,
    file: &Path,
) -> Result<(), Error> {
    let mut backoff = Backoff::of_transfers();
    loop {
        match remote.put(lease, size, digest, file).await {
            Err(error) if error.again() => {
                tracing::debug!(%lease, %error, "an upload broke off");
                sleep(backoff.step()).await;
            }
            other => return other.map_err(Error::Link),
        }
    }
}

/// A file that grows until it is whole.
struct Download {
    file: File,
    bytes: u64,
    digester: Digester,
    expected: Expected,
}

impl Download {
    async fn create(path: &Path, expected: Expected) -> Result<Self, Error> {
        let file = File::create(path).await.map_err(Error::Disk)?;
        Ok(Self { file, bytes: 0, digester: Digester::default(), expected })
    }

    /// Fetches from where it is to the end, and checks the whole.
    async fn go_on<R: Remote>(
        &mut self,
        remote: &R,
        request: &impl Fn(u64) -> BlobRequest,
    ) -> Result<(), Error> {
        let mut fetched = remote.fetch(request(self.bytes)).await.map_err(Error::Link)?;
        let whole = self.bytes.checked_add(fetched.bytes).ok_or(Error::Spoiled)?;
        if whole > self.expected.bytes_max {
            return Err(Error::TooLarge(self.expected.bytes_max));
        }
        if self.expected.bytes.is_some_and(|bytes| bytes != whole) {
            return Err(Error::Spoiled);
        }
        let mut buffer = vec![0; BUFFER_BYTES];
        while self.bytes < whole {
            let n = match timeout(STALL, fetched.reader.read(&mut buffer)).await {
                Ok(Ok(0)) => return Err(broken(std::io::ErrorKind::UnexpectedEof)),
                Err(_) => return Err(broken(std::io::ErrorKind::TimedOut)),
                Ok(Ok(n)) => n.min(usize::try_from(whole - self.bytes).unwrap_or(n)),
                Ok(Err(error)) => return Err(Error::Link(link::Error::Io(error))),
            };
            self.file.write_all(&buffer[..n]).await.map_err(Error::Disk)?;
            self.digester.update(&buffer[..n]);
            self.bytes += n as u64;
        }
        self.file.flush().await.map_err(Error::Disk)?;
        let digest = self.expected.digest.or(fetched.digest);
        if digest.is_some_and(|digest| digest != self.digester.clone().finish()) {
            return Err(Error::Spoiled);
        }
        Ok(())
    }
}

fn broken(kind: std::io::ErrorKind) -> Error {
    Error::Link(link::Error::Io(kind.into()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use common::protocol::{self, Orders};
    use common::task::Stage;

    use super::*;
    use crate::link::Fetched;

    /// A bucket that never gives anything.
    #[derive(Clone, Default)]
    struct Stubborn(Arc<AtomicU32>);

    impl Remote for Stubborn {
        fn sign(&self, _: &[u8]) -> Vec<u8> {
            Vec::new()
        }

        async fn sync(&self, _: protocol::Sync) -> Result<Orders, link::Error> {
            Err(link::Error::Disconnected)
        }

        async fn inputs(&self, _: Lease) -> Result<Vec<InputFile>, link::Error> {
            Err(link::Error::Disconnected)
        }

        async fn cached(&self, _: Lease, _: Cache) -> Result<Vec<CacheFile>, link::Error> {
            Err(link::Error::Disconnected)
        }

        async fn reply(&self, _: BlobRequest) -> Result<BlobReply, link::Error> {
            Err(link::Error::Disconnected)
        }

        async fn fetch(&self, _: BlobRequest) -> Result<Fetched, link::Error> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let message = "the bucket answered 403".to_owned();
            Err(link::Error::Refused { message, again: true })
        }

        async fn put(&self, _: Lease, _: u64, _: Digest, _: &Path) -> Result<(), link::Error> {
            Err(link::Error::Disconnected)
        }
    }

    #[tokio::test]
    async fn a_bucket_that_never_gives_a_byte_is_given_up() {
        let (folder, bucket) = (tempfile::tempdir().unwrap(), Stubborn::default());
        let lease = crate::testing::lease(Stage::Process, 0);
        let request = |from| BlobRequest::Input { lease, n: 0, from };
        let expected = Expected { bytes: Some(5), digest: None, bytes_max: 5 };

        let backoff = Backoff::new(Duration::ZERO, Duration::ZERO);
        let to = folder.path().join("x");

        let fetched = fetch_with(backoff, &bucket, request, &to, expected).await;

        assert!(matches!(fetched, Err(Error::Link(link::Error::Refused { .. }))), "{fetched:?}");
        assert_eq!(bucket.0.load(Ordering::Relaxed), FRUITLESS_MAX);
    }
}
