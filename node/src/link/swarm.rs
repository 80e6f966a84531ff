//! The one task that owns the swarm: it keeps a connection to a server and carries messages. It
//! never awaits anything but its own events.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use common::error_chain::chain;
use common::protocol::{Orders, SYNC_BYTES_MAX, SYNC_PROTOCOL, Sync};
use futures::StreamExt as _;
use libp2p::identity::Keypair;
use libp2p::request_response::{
    self as messages, Message, OutboundFailure, OutboundRequestId, ProtocolSupport,
};
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, identify, ping};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::trouble::{self, Trouble};
use super::{Error, address, tcp};

/// Messages waiting for the swarm.
const COMMANDS_MAX: usize = 16;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Well above the pause between two messages, so that a quiet link stays.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How often the server is asked whether it still answers. That its machine is gone the kernel
/// notices much sooner.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A message to the server.
pub struct Command {
    pub message: Sync,
    pub reply: Reply,
}

type Reply = oneshot::Sender<Result<Orders, Error>>;

/// What the link keeps of its swarm.
pub struct Uplink {
    pub commands: mpsc::Sender<Command>,
    pub server: watch::Receiver<Option<PeerId>>,
    pub control: libp2p_stream::Control,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    sync: messages::cbor::Behaviour<Sync, Orders>,
    streams: libp2p_stream::Behaviour,
}

impl Behaviour {
    fn new(key: &Keypair) -> Self {
        // Only the addresses that the owner gave are dialled, never those that the server claims.
        let about = identify::Config::new("/fanfold/1".to_owned(), key.public()).with_cache_size(0);
        let config = messages::Config::default().with_request_timeout(REQUEST_TIMEOUT);
        let codec =
            messages::cbor::codec::Codec::default().set_request_size_maximum(SYNC_BYTES_MAX);
        let sync = (StreamProtocol::new(SYNC_PROTOCOL), ProtocolSupport::Outbound);
        Self {
            identify: identify::Behaviour::new(about),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL)),
            sync: messages::cbor::Behaviour::with_codec(codec, [sync], config),
            streams: libp2p_stream::Behaviour::new(),
        }
    }
}

/// Builds the swarm and starts its task.
pub fn start(
    key: &Keypair,
    addresses: Vec<Multiaddr>,
    stop: CancellationToken,
) -> Result<Uplink, Error> {
    let swarm = libp2p::SwarmBuilder::with_existing_identity(key.clone())
        .with_tokio()
        .with_other_transport(|key| Ok(tcp::transport(key)?))
        .map_err(io::Error::other)?
        .with_behaviour(Behaviour::new)
        .map_err(io::Error::other)?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE_TIMEOUT))
        .build();
    let control = swarm.behaviour().streams.new_control();
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let (connected, server) = watch::channel(None);
    let (resolved, dials) = mpsc::channel(1);
    let keeper = Keeper {
        swarm,
        addresses,
        phase: Phase::Waiting(Instant::now()),
        tries: 0,
        failures: 0,
        trouble: Trouble::default(),
        connected,
        resolved,
        pending: HashMap::new(),
    };
    tokio::spawn(keeper.run(inbox, dials, stop));
    Ok(Uplink { commands, server, control })
}

/// Where the connection is.
enum Phase {
    Waiting(Instant),
    Resolving,
    Dialing(ConnectionId),
    Connected(PeerId),
}

struct Keeper {
    swarm: Swarm<Behaviour>,
    addresses: Vec<Multiaddr>,
    phase: Phase,
    /// Dials since the start; picks the address.
    tries: usize,
    /// Dials since the server last answered a message; decides the pause.
    failures: u32,
    trouble: Trouble,
    connected: watch::Sender<Option<PeerId>>,
    resolved: mpsc::Sender<io::Result<Vec<Multiaddr>>>,
    pending: HashMap<OutboundRequestId, Reply>,
}

impl Keeper {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Command>,
        mut dials: mpsc::Receiver<io::Result<Vec<Multiaddr>>>,
        stop: CancellationToken,
    ) {
        loop {
            let pause = match self.phase {
                Phase::Waiting(until) => Some(until),
                Phase::Resolving | Phase::Dialing(_) | Phase::Connected(_) => None,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(found) = dials.recv() => self.dial(found),
                Some(command) = inbox.recv() => self.send(command),
                () = tokio::time::sleep_until(pause.unwrap_or_else(Instant::now)), if pause.is_some() => {
                    self.resolve();
                }
            }
        }
    }

    fn send(&mut self, command: Command) {
        // The caller may have given up while the message waited.
        self.pending.retain(|_, reply| !reply.is_closed());
        if let Phase::Connected(peer) = self.phase {
            let id = self.swarm.behaviour_mut().sync.send_request(&peer, command.message);
            self.pending.insert(id, command.reply);
        } else {
            let _ = command.reply.send(Err(Error::Disconnected));
        }
    }

    fn resolve(&mut self) {
        self.phase = Phase::Resolving;
        let address = self.addresses[self.tries % self.addresses.len()].clone();
        let resolved = self.resolved.clone();
        tokio::spawn(async move {
            // Nobody receives once the link has stopped.
            let _ = resolved.send(address::resolve(&address).await).await;
        });
    }

    fn dial(&mut self, found: io::Result<Vec<Multiaddr>>) {
        let round = self.tries / self.addresses.len();
        self.tries = self.tries.wrapping_add(1);
        let address = match found {
            Ok(found) if !found.is_empty() => found[round % found.len()].clone(),
            Ok(_) => return self.fail("the server's name has no address"),
            Err(error) => return self.fail(&error.to_string()),
        };
        if matches!(self.phase, Phase::Connected(_)) {
            return;
        }
        let options = DialOpts::unknown_peer_id().address(address).build();
        let id = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => self.phase = Phase::Dialing(id),
            Err(error) => self.fail(&trouble::reason(&error)),
        }
    }

    /// A dial has failed.
    fn fail(&mut self, why: &str) {
        let tried = self.tries.wrapping_sub(1) % self.addresses.len();
        self.trouble.failed(&self.addresses[tried], why);
        self.pause(why);
    }

    /// Waits a little before the next dial, longer after each failure.
    fn pause(&mut self, why: &str) {
        let pause = backoff(self.failures, rand::random_range(50..=100));
        self.failures = self.failures.saturating_add(1);
        tracing::debug!(error = why, ?pause, "no connection to the server");
        self.phase = Phase::Waiting(Instant::now() + pause);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most events of a swarm are only news")]
    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => match self.phase {
                Phase::Connected(peer) if peer != peer_id => {
                    self.swarm.close_connection(connection_id);
                }
                Phase::Connected(_) => {}
                Phase::Waiting(_) | Phase::Resolving | Phase::Dialing(_) => {
                    tracing::info!(server = %peer_id, "connected");
                    self.trouble.over();
                    self.phase = Phase::Connected(peer_id);
                    self.connected.send_replace(Some(peer_id));
                }
            },
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } if matches!(self.phase, Phase::Connected(peer) if peer == peer_id) =>
            {
                tracing::info!(server = %peer_id, "disconnected");
                self.connected.send_replace(None);
                self.pause("the connection was lost");
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } if matches!(self.phase, Phase::Dialing(id) if id == connection_id) =>
            {
                self.fail(&trouble::reason(&error));
            }
            SwarmEvent::Behaviour(BehaviourEvent::Sync(event)) => self.on_message(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event {
                connection,
                result: Err(error),
                ..
            })) => {
                tracing::debug!(error = %chain(&error), "the server does not answer pings");
                self.swarm.close_connection(connection);
            }
            _ => {}
        }
    }

    fn on_message(&mut self, event: messages::Event<Sync, Orders>) {
        let (id, answer) = match event {
            messages::Event::Message {
                message: Message::Response { request_id, response },
                ..
            } => {
                self.failures = 0;
                (request_id, Ok(response))
            }
            messages::Event::OutboundFailure { request_id, error, .. } => {
                (request_id, Err(failure(error)))
            }
            messages::Event::Message { message: Message::Request { .. }, .. }
            | messages::Event::InboundFailure { .. }
            | messages::Event::ResponseSent { .. } => return,
        };
        if let Some(reply) = self.pending.remove(&id) {
            // The caller may have gone.
            let _ = reply.send(answer);
        }
    }
}

fn failure(error: OutboundFailure) -> Error {
    match error {
        OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => Error::Disconnected,
        OutboundFailure::Timeout => Error::Io(io::ErrorKind::TimedOut.into()),
        OutboundFailure::UnsupportedProtocols => Error::Protocol(format!(
            "it does not offer {SYNC_PROTOCOL}; node and server must be of the same release"
        )),
        OutboundFailure::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            Error::Protocol(error.to_string())
        }
        OutboundFailure::Io(error) => Error::Io(error),
    }
}

/// The pause after a number of failures, doubled each time up to its limit, of which `percent` is
/// taken: nodes that lost the same server must not all come back at the same instant.
fn backoff(failures: u32, percent: u32) -> Duration {
    let full = BACKOFF_FIRST.saturating_mul(1 << failures.min(16)).min(BACKOFF_MAX);
    full * percent / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnect_pause_grows_to_a_limit() {
        assert_eq!(backoff(0, 100), BACKOFF_FIRST);
        assert_eq!(backoff(1, 50), BACKOFF_FIRST);
        assert_eq!(backoff(u32::MAX, 100), BACKOFF_MAX);
    }
}
