//! Moves files from and to the server; goes on where it was when the connection comes back.

use std::path::Path;
use std::time::Duration;

use common::digest::{Digest, Digester};
use common::error_chain::chain;
use common::protocol::{BlobReply, BlobRequest, Cache, CacheFile, InputFile, OwnContainer};
use common::run::task::Lease;
use common::secret::{Hidden, Secret};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use crate::link;
use crate::net::backoff::Backoff;
use crate::server_client::ServerClient;

/// A transfer that moves no byte for this time is tried again.
const STALL: Duration = Duration::from_secs(60);
/// How often bytes that are not what they should be are fetched again.
const SPOILED_MAX: u32 = 3;
/// How long a connected server, or the bucket it points to, may give no byte more. Longer waits are
/// the market's, where the attempt holds nobody's place.
const FRUITLESS_MAX: Duration = Duration::from_secs(30);
/// How often a refusal that is final must be heard, each time with a new link: a bucket's rights
/// may have been changed just now.
const FINAL_HEARD: u32 = 3;
/// What a transfer may take in all, beside a time for its bytes.
const GRACE: Duration = Duration::from_secs(600);
const BYTES_PER_SEC_MIN: u64 = 16 << 10;
/// How often a token to pull an image is asked for, where the server has none now.
const TOKENS_REFUSED_MAX: u32 = 4;
const BUFFER_BYTES: usize = 256 * 1024;

/// The transfer will not succeed by trying longer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the server refused the transfer")]
    Link(#[source] link::Error),
    #[error("size or digest mismatch")]
    Spoiled,
    #[error("the file is larger than {0} bytes")]
    TooLarge(u64),
    #[error("the transfer is too slow")]
    Slow,
    #[error("node disk error")]
    Disk(#[source] std::io::Error),
}

impl Error {
    /// Why the server refuses for good, if it does.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Link(link::Error::Refused { message, again: false }) => Some(message),
            Self::Link(_) | Self::Spoiled | Self::TooLarge(_) | Self::Slow | Self::Disk(_) => None,
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

/// How a fetch goes on where it breaks off.
struct Tries<'a> {
    backoff: Backoff,
    fruitless_max: Duration,
    /// A turn is taken for each try and given back before a pause.
    turns: Option<&'a Semaphore>,
    /// Is told why the bytes do not come.
    trouble: &'a (dyn Fn(String) + Sync),
}

/// Fetches what `request(from)` asks for into a new file. A lost connection to the server is
/// waited for as long as the caller waits.
pub async fn fetch<R: ServerClient>(
    remote: &R,
    request: impl Fn(u64) -> BlobRequest,
    to: &Path,
    expected: Expected,
) -> Result<(), Error> {
    let tries = Tries {
        backoff: Backoff::of_transfers(),
        fruitless_max: FRUITLESS_MAX,
        turns: None,
        trouble: &|_| {},
    };
    fetch_with(tries, remote, request, to, expected).await
}

/// The same, holding a turn only while it gets on, and telling what is in the way.
pub async fn fetch_in_turn<R: ServerClient>(
    remote: &R,
    request: impl Fn(u64) -> BlobRequest,
    to: &Path,
    expected: Expected,
    turns: &Semaphore,
    trouble: &(dyn Fn(String) + Sync),
) -> Result<(), Error> {
    let (backoff, fruitless_max) = (Backoff::of_transfers(), FRUITLESS_MAX);
    let tries = Tries { backoff, fruitless_max, turns: Some(turns), trouble };
    fetch_with(tries, remote, request, to, expected).await
}

async fn fetch_with<R: ServerClient>(
    mut tries: Tries<'_>,
    remote: &R,
    request: impl Fn(u64) -> BlobRequest,
    to: &Path,
    expected: Expected,
) -> Result<(), Error> {
    let mut spoiled = 0;
    loop {
        let error = match fetch_once(&mut tries, remote, &request, to, expected).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        spoiled += 1;
        if !matches!(error, Error::Spoiled) || spoiled == SPOILED_MAX {
            return Err(error);
        }
        sleep(tries.backoff.step()).await;
    }
}

/// Fetches a whole file, in as many parts as it breaks into.
async fn fetch_once<R: ServerClient>(
    tries: &mut Tries<'_>,
    remote: &R,
    request: &impl Fn(u64) -> BlobRequest,
    to: &Path,
    expected: Expected,
) -> Result<(), Error> {
    let mut download = Download::create(to, expected).await?;
    let mut start = Instant::now();
    let (mut stuck, mut refused): (Option<Instant>, u32) = (None, 0);
    loop {
        let before = download.bytes;
        let turn = match tries.turns {
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        };
        let error = match download.go_on(remote, request).await {
            Ok(()) => return Ok(()),
            Err(Error::Link(error)) => error,
            Err(error) => return Err(error),
        };
        drop(turn);
        tracing::debug!(error = %chain(&error), bytes = download.bytes, "download interrupted");
        if download.bytes > before {
            tries.backoff.reset();
            (stuck, refused) = (None, 0);
        }
        let is_final = matches!(&error, link::Error::Bucket(error) if error.is_final());
        refused += u32::from(is_final);
        let heard_enough = !error.again() && (!is_final || refused >= FINAL_HEARD);
        // The server may be away for as long as it wants: that is between it and its nodes.
        let is_away = matches!(error, link::Error::Disconnected);
        if is_away {
            start = Instant::now();
        }
        let since = (!is_away).then(|| *stuck.get_or_insert_with(Instant::now));
        if heard_enough || since.is_some_and(|since| since.elapsed() >= tries.fruitless_max) {
            return Err(Error::Link(error));
        }
        if start.elapsed() > GRACE + Duration::from_secs(download.bytes / BYTES_PER_SEC_MIN)
            && since.is_some()
        {
            return Err(Error::Slow);
        }
        if since.is_some() {
            (tries.trouble)(error.to_string());
        }
        sleep(tries.backoff.step()).await;
    }
}

/// The files of a lease.
pub async fn inputs<R: ServerClient>(remote: &R, lease: Lease) -> Result<Vec<InputFile>, Error> {
    patiently(|| remote.inputs(lease)).await
}

/// The files that were uploaded for a cache.
pub async fn cached<R: ServerClient>(
    remote: &R,
    lease: Lease,
    cache: Cache,
) -> Result<Vec<CacheFile>, Error> {
    patiently(|| remote.cached(lease, cache)).await
}

/// The secrets of a lease's package.
pub async fn secrets<R: ServerClient>(remote: &R, lease: Lease) -> Result<Vec<Secret>, Error> {
    let reply = patiently(|| remote.reply(BlobRequest::Secrets { lease })).await?;
    if let BlobReply::Secrets(secrets) = reply { Ok(secrets) } else { Err(other("secrets")) }
}

/// What a lease's task runs, with the texts that are its own. It stays in memory: secrets may be in
/// it.
pub async fn own_container<R: ServerClient>(
    remote: &R,
    lease: Lease,
) -> Result<OwnContainer, Error> {
    let json = patiently(|| async {
        let mut fetched = remote.fetch(BlobRequest::Container { lease }).await?;
        if fetched.bytes > OwnContainer::BYTES_MAX {
            return Err(malformed());
        }
        let mut json = Vec::new();
        let reading = fetched.reader.read_to_end(&mut json);
        let read = timeout(STALL, reading).await;
        read.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
        Ok(json)
    });
    serde_json::from_slice(&json.await?).map_err(|_| Error::Link(malformed()))
}

fn malformed() -> link::Error {
    link::Error::Protocol("a container that cannot be read".to_owned())
}

/// What pulls image `n` of a lease; `None` where nothing is needed. A registry that gives the server no
/// token is not waited for.
pub async fn pull_token<R: ServerClient>(
    remote: &R,
    lease: Lease,
    n: u8,
) -> Result<Option<Hidden>, Error> {
    let mut backoff = Backoff::of_transfers();
    let mut refused = 0;
    loop {
        match remote.reply(BlobRequest::PullToken { lease, n }).await {
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

/// Asks until there is an answer that asking again does not change, or none comes for too long.
async fn patiently<T, F>(ask: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, link::Error>>,
{
    let mut backoff = Backoff::of_transfers();
    let mut stuck = None;
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let is_stuck = !matches!(error, link::Error::Disconnected)
            && stuck.get_or_insert_with(Instant::now).elapsed() >= FRUITLESS_MAX;
        if !error.again() || is_stuck {
            return Err(Error::Link(error));
        }
        sleep(backoff.step()).await;
    }
}

/// Stores a file on the server.
pub async fn put<R: ServerClient>(
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
                tracing::debug!(error = %chain(&error), "upload interrupted");
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
    async fn go_on<R: ServerClient>(
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
        let (start, had) = (Instant::now(), self.bytes);
        while self.bytes < whole {
            if start.elapsed() > GRACE + Duration::from_secs((self.bytes - had) / BYTES_PER_SEC_MIN)
            {
                return Err(Error::Slow);
            }
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
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, Mutex};

    use common::protocol::{self, Orders};
    use tokio::sync::watch;

    use super::*;
    use crate::link::{BucketError, Fetched};

    /// A bucket that never gives anything.
    #[derive(Clone, Default)]
    struct Stubborn {
        asked: Arc<AtomicU32>,
        refusal: Option<BucketError>,
    }

    impl ServerClient for Stubborn {
        fn sign(&self, _: &[u8]) -> Vec<u8> {
            Vec::new()
        }

        async fn sync(&self, _: protocol::Sync) -> Result<Orders, link::Error> {
            Err(link::Error::Disconnected)
        }

        fn is_bucket_away(&self) -> watch::Receiver<bool> {
            watch::channel(false).1
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
            self.asked.fetch_add(1, Ordering::Relaxed);
            if let Some(refusal) = &self.refusal {
                return Err(link::Error::Bucket(refusal.clone()));
            }
            let message = "the bucket answered 403".to_owned();
            Err(link::Error::Refused { message, again: true })
        }

        async fn put(&self, _: Lease, _: u64, _: Digest, _: &Path) -> Result<(), link::Error> {
            Err(link::Error::Disconnected)
        }
    }

    async fn fetched_from(bucket: &Stubborn) -> (Result<(), Error>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let lease = crate::testing::lease(0);
        let request = |from| BlobRequest::Input { lease, n: 0, from };
        let expected = Expected { bytes: Some(5), digest: None, bytes_max: 5 };
        let (told, turns) = (Mutex::new(Vec::new()), Semaphore::new(1));
        let tries = Tries {
            backoff: Backoff::new(Duration::from_millis(1), Duration::from_millis(2)),
            fruitless_max: Duration::from_millis(50),
            turns: Some(&turns),
            trouble: &|text| {
                assert_eq!(turns.available_permits(), 1, "nobody waits for one that pauses");
                told.lock().unwrap().push(text);
            },
        };

        let fetched = fetch_with(tries, bucket, request, &folder.path().join("x"), expected).await;

        (fetched, told.into_inner().unwrap())
    }

    #[tokio::test]
    async fn bucket_that_sends_nothing_is_abandoned_and_holds_no_turn() {
        let bucket = Stubborn::default();

        let (fetched, told) = fetched_from(&bucket).await;

        assert!(matches!(fetched, Err(Error::Link(link::Error::Refused { .. }))), "{fetched:?}");
        assert!(told[0].contains("the bucket answered 403"), "{told:?}");
    }

    #[tokio::test]
    async fn final_refusal_is_accepted_when_a_new_link_does_not_change_it() {
        let barred = BucketError::barred(None, crate::net::ssrf_guard::Refused::Private);
        for (error, asked) in [(BucketError::forbidden(), FINAL_HEARD), (barred, 1)] {
            let bucket = Stubborn { refusal: Some(error), ..Stubborn::default() };

            let (fetched, _) = fetched_from(&bucket).await;

            assert!(matches!(fetched, Err(Error::Link(link::Error::Bucket(_)))), "{fetched:?}");
            assert_eq!(bucket.asked.load(Ordering::Relaxed), asked);
        }
    }
}
