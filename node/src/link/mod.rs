//! The node's connection to its server over libp2p. It dials and never listens. It knows the wire
//! and nothing of what the messages mean.

mod address;
mod blob;
mod bucket;
mod exact_reader;
mod frame;
mod results;
mod swarm;
mod tcp;
mod trouble;
mod watched_reader;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::protocol::frame::FrameError;
use common::protocol::{Orders, Sync};
use libp2p::PeerId;
use libp2p::identity::Keypair;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::net::ssrf_guard::SsrfGuard;
pub use blob::Fetched;
pub use bucket::BucketError;

/// How long a call waits for a connection.
const CONNECTION_WAIT: Duration = Duration::from_secs(60);
/// How long a message waits for its answer: longer than its stream lives, of whose end the swarm tells.
const ANSWER_WAIT: Duration = Duration::from_secs(90);
/// Blob streams open at once. The server grants a few more, so that a stream it has not yet seen
/// end costs no refusal.
const STREAMS_MAX: usize = 6;

#[derive(Debug, Clone)]
pub struct Options {
    /// Multiaddrs, tried in turn: `/ip4/…/tcp/…` or `/dns4/…/tcp/…`. One that ends in
    /// `/p2p/<peer id>` is only good for a server with this key.
    pub server: Vec<String>,
    /// Where the node's key is kept; made where it is missing.
    pub key_file: PathBuf,
    /// Whether buckets may be at private and loopback addresses.
    pub allow_private_addresses: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no connection to the server")]
    Disconnected,
    #[error("the server refused: {message}")]
    Refused { message: String, again: bool },
    /// The customer's store does not give the server what it is to pass on.
    #[error("{0}")]
    Source(String),
    #[error("the task was reassigned, or its job has ended")]
    Outdated,
    #[error(transparent)]
    Bucket(BucketError),
    #[error("the server's bucket does not answer")]
    BucketAway,
    #[error("the server does not speak as expected: {0}")]
    Protocol(String),
    #[error("reading or writing failed")]
    Io(#[from] io::Error),
    #[error("{} holds no key that can be read; restore it, or remove it to join as a new node", path.display())]
    Key { path: PathBuf },
    #[error("the server's address {address:?} {why}")]
    Address { address: String, why: &'static str },
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn again(&self) -> bool {
        match self {
            Self::Disconnected | Self::Source(_) | Self::Io(_) | Self::BucketAway => true,
            Self::Refused { again, .. } => *again,
            Self::Bucket(error) => error.again(),
            Self::Outdated | Self::Protocol(_) | Self::Key { .. } | Self::Address { .. } => false,
        }
    }
}

impl From<FrameError> for Error {
    fn from(error: FrameError) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// The line; clones share it. It ends with its stop token.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    key: Keypair,
    commands: mpsc::Sender<swarm::Command>,
    /// The server, while there is a connection to it.
    server: watch::Receiver<Option<PeerId>>,
    /// Behind a lock, so that streams are opened one after another: the server's side takes them
    /// one at a time and drops what comes in between.
    control: Mutex<libp2p_stream::Control>,
    streams: Arc<Semaphore>,
    http: reqwest::Client,
    guard: SsrfGuard,
    is_bucket_away: watch::Sender<bool>,
    /// Until when the node puts nothing into the bucket by itself.
    no_uploads: std::sync::Mutex<Option<Instant>>,
}

/// Whether a server may be at this multiaddr.
///
/// # Errors
///
/// Where it may not: the text says why.
pub fn check_address(address: &str) -> Result<(), Error> {
    address::parse(&[address.to_owned()]).map(|_| ())
}

impl Link {
    /// Starts dialling. Must be called on a tokio runtime, after a rustls provider was installed.
    pub fn start(options: Options, stop: CancellationToken) -> Result<Self, Error> {
        let Options { server, key_file, allow_private_addresses } = options;
        let addresses = address::parse(&server)?;
        let key = identity::load_or_make(&key_file).map_err(|error| match error {
            identity::Error::Damaged => Error::Key { path: key_file },
            identity::Error::Io(error) => error.into(),
        })?;
        let guard = SsrfGuard::new(allow_private_addresses);
        let http = guard.client().map_err(io::Error::other)?;
        let line = swarm::start(&key, addresses, stop)?;
        Ok(Self {
            shared: Arc::new(Shared {
                key,
                commands: line.commands,
                server: line.server,
                control: Mutex::new(line.control),
                streams: Arc::new(Semaphore::new(STREAMS_MAX)),
                http,
                guard,
                is_bucket_away: watch::Sender::new(false),
                no_uploads: std::sync::Mutex::default(),
            }),
        })
    }

    pub fn peer_id(&self) -> String {
        self.shared.key.public().to_peer_id().to_string()
    }

    /// Whether there is a connection to the server.
    pub fn is_connected(&self) -> bool {
        self.shared.server.borrow().is_some()
    }

    /// Signs with the node's identity.
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.shared.key.sign(bytes).expect("an ed25519 key signs anything")
    }

    /// Says everything and gets the server's orders. Waits up to a minute for a connection; once
    /// the message is under way a lost connection is an error, because the next message says more.
    pub async fn sync(&self, message: Sync) -> Result<Orders, Error> {
        self.connected().await?;
        let (reply, answer) = oneshot::channel();
        let command = swarm::Command { message, reply };
        self.shared.commands.send(command).await.map_err(|_| Error::Disconnected)?;
        match timeout(ANSWER_WAIT, answer).await {
            Ok(answered) => answered.map_err(|_| Error::Disconnected)?,
            Err(_) => Err(Error::Io(io::ErrorKind::TimedOut.into())),
        }
    }

    /// The server, as soon as there is a connection to it.
    async fn connected(&self) -> Result<PeerId, Error> {
        let mut server = self.shared.server.clone();
        let found = timeout(CONNECTION_WAIT, server.wait_for(Option::is_some)).await;
        match found {
            Ok(Ok(peer)) => peer.ok_or(Error::Disconnected),
            Ok(Err(_)) | Err(_) => Err(Error::Disconnected),
        }
    }
}
