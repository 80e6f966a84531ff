//! The one task that owns the swarm. It only carries: what takes time is done by tasks of its
//! own, and comes back through a channel.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::error_chain::chain;
use common::protocol::{BLOB_PROTOCOL, Orders, SYNC_BYTES_MAX, SYNC_PROTOCOL, Sync};
use futures::{FutureExt as _, StreamExt as _};
use libp2p::core::transport::ListenerId;
use libp2p::identity::Keypair;
use libp2p::request_response::{self as messages, Message, ProtocolSupport, ResponseChannel};
use libp2p::swarm::{ConnectionId, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, identify, noise, ping, tcp, yamux};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admission::{self, Limits};
use super::backend::Port;
use super::blob::handler::Blobs;
use super::blob::streams;
use super::peer_limits::PeerLimit;
use super::sync::handler::SyncHandler;
use super::{Addresses, Error};
use crate::metrics::Metrics;
use crate::supervisor::Supervisor;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Well above the pause between two messages of a node.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How often a node is asked whether its network is still there; a thousand nodes are, too.
const PING_INTERVAL: Duration = Duration::from_secs(60);
/// A peer that has not proven its key by then is disconnected.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Blob streams, messages, and a few of libp2p's own. Each may hold a window of received bytes.
const SUBSTREAMS_MAX: usize = 32;
const NEGOTIATING_MAX: usize = 16;
const SYNCS_PER_PEER_MAX: usize = 4;
const SYNCS_MAX: usize = 8192;
/// Messages of peers that have not joined, looked up at once: of one peer, and of all.
const SYNCS_PER_STRANGER_MAX: usize = 2;
const STRANGERS_MAX: usize = 64;
/// Answers that wait for the swarm.
const HEARD_MAX: usize = 256;

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    admission: admission::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    sync: messages::cbor::Behaviour<Sync, Orders>,
    streams: libp2p_stream::Behaviour,
}

impl Behaviour {
    fn new(key: &Keypair, limits: Limits, metrics: &Arc<Metrics>) -> Self {
        // What nodes claim as their addresses is never dialled.
        let about = identify::Config::new("/fanfold/1".to_owned(), key.public()).with_cache_size(0);
        let config = messages::Config::default()
            .with_request_timeout(REQUEST_TIMEOUT)
            .with_max_concurrent_streams(SYNCS_PER_PEER_MAX);
        let codec =
            messages::cbor::codec::Codec::default().set_request_size_maximum(SYNC_BYTES_MAX);
        let sync = (StreamProtocol::new(SYNC_PROTOCOL), ProtocolSupport::Inbound);
        Self {
            admission: admission::Behaviour::new(limits, Arc::clone(metrics)),
            identify: identify::Behaviour::new(about),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL)),
            sync: messages::cbor::Behaviour::with_codec(codec, [sync], config),
            streams: libp2p_stream::Behaviour::new(),
        }
    }
}

pub fn build(
    key: &Keypair,
    limits: Limits,
    metrics: &Arc<Metrics>,
) -> Result<Swarm<Behaviour>, Error> {
    let multiplexer = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(SUBSTREAMS_MAX);
        config
    };
    let swarm = libp2p::SwarmBuilder::with_existing_identity(key.clone())
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, multiplexer)
        .map_err(|error| Error::Transport(error.to_string()))?
        .with_behaviour(|key| Behaviour::new(key, limits, metrics))
        .map_err(|error| Error::Transport(error.to_string()))?
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(IDLE_TIMEOUT)
                .with_max_negotiating_inbound_streams(NEGOTIATING_MAX)
        })
        .with_connection_timeout(HANDSHAKE_TIMEOUT)
        .build();
    Ok(swarm)
}

/// Listens on all addresses, and gives back those that it really has.
pub async fn listen(
    swarm: &mut Swarm<Behaviour>,
    on: &[Multiaddr],
) -> Result<BTreeSet<Multiaddr>, Error> {
    let failed = |address: &Multiaddr, why: String| Error::Listen { address: address.clone(), why };
    let mut waiting: Vec<(ListenerId, &Multiaddr)> = Vec::new();
    for address in on {
        let id = swarm.listen_on(address.clone());
        waiting.push((id.map_err(|error| failed(address, error.to_string()))?, address));
    }
    let mut found = BTreeSet::new();
    while !waiting.is_empty() {
        collect(swarm.select_next_some().await, &mut waiting, &mut found)
            .map_err(|(address, why)| failed(address, why))?;
    }
    // A listener on all interfaces tells them one by one; most are known by now.
    while let Some(event) = swarm.select_next_some().now_or_never() {
        collect(event, &mut waiting, &mut found).map_err(|(address, why)| failed(address, why))?;
    }
    Ok(found)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "most events of a swarm are only news")]
fn collect<'a>(
    event: SwarmEvent<BehaviourEvent>,
    waiting: &mut Vec<(ListenerId, &'a Multiaddr)>,
    found: &mut BTreeSet<Multiaddr>,
) -> Result<(), (&'a Multiaddr, String)> {
    match event {
        SwarmEvent::NewListenAddr { listener_id, address } => {
            waiting.retain(|(id, _)| *id != listener_id);
            found.insert(address);
            Ok(())
        }
        SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
            let why = reason.err().map_or_else(|| "closed".to_owned(), |error| error.to_string());
            let lost = waiting.iter().find(|(id, _)| *id == listener_id);
            lost.map_or(Ok(()), |(_, address)| Err((*address, why)))
        }
        _ => Ok(()),
    }
}

/// Serves until it is stopped.
pub struct Host<P> {
    pub swarm: Swarm<Behaviour>,
    pub syncs: SyncHandler<P>,
    pub blobs: Blobs<P>,
    pub addresses: Addresses,
    pub tasks: TaskTracker,
    pub supervisor: Supervisor,
}

/// What a message led to.
enum Heard {
    /// Its sender is a node.
    Joined(PeerId),
    /// Its sender is none, and is told so.
    Refused(PeerId, ResponseChannel<Orders>, Orders),
    Answered(ResponseChannel<Orders>, Orders),
}

impl<P: Port> Host<P> {
    /// Starts the swarm's task and the one that takes blob streams.
    pub fn start(self) {
        let Self { swarm, syncs, blobs, addresses, tasks, supervisor } = self;
        let stop = supervisor.stop().clone();
        let incoming = swarm
            .behaviour()
            .streams
            .new_control()
            .accept(StreamProtocol::new(BLOB_PROTOCOL))
            .expect("a new swarm has no stream protocols yet");
        let (heard, said) = mpsc::channel(HEARD_MAX);
        let gate = PeerLimit::new(SYNCS_PER_PEER_MAX, SYNCS_MAX);
        let strangers = PeerLimit::new(SYNCS_PER_STRANGER_MAX, STRANGERS_MAX);
        let taking = streams::take(incoming, blobs, tasks.clone(), stop.clone());
        tasks.spawn(supervisor.clone().run("the transfers to nodes", taking));
        let tracker = tasks.clone();
        let carrier =
            Carrier { swarm, syncs, addresses, gate, strangers, heard, tasks: tracker, stop };
        tasks.spawn(supervisor.run("the link to nodes", carrier.run(said)));
        tasks.close();
    }
}

struct Carrier<P> {
    swarm: Swarm<Behaviour>,
    syncs: SyncHandler<P>,
    addresses: Addresses,
    gate: PeerLimit,
    /// The same for peers that have not joined.
    strangers: PeerLimit,
    heard: mpsc::Sender<Heard>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl<P: Port> Carrier<P> {
    async fn run(mut self, mut said: mpsc::Receiver<Heard>) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(heard) = said.recv() => self.act(heard),
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most events of a swarm are only news")]
    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Sync(messages::Event::Message {
                peer,
                connection_id,
                message: Message::Request { request, channel, .. },
            })) => self.on_sync(peer, connection_id, request, channel),
            SwarmEvent::Behaviour(BehaviourEvent::Sync(messages::Event::InboundFailure {
                peer,
                error,
                ..
            })) => tracing::debug!(%peer, error = %chain(&error), "message not answered"),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event {
                peer,
                connection,
                result: Err(error),
            })) => {
                // Without pings nobody would notice that its network is gone.
                tracing::debug!(%peer, error = %chain(&error), "node does not answer pings");
                self.swarm.close_connection(connection);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                self.addresses.lock().unwrap_or_else(PoisonError::into_inner).insert(address);
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.addresses.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
            }
            SwarmEvent::ListenerClosed { addresses, .. } => {
                tracing::error!(?addresses, "listener closed");
                let mut known = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
                known.retain(|address| !addresses.contains(address));
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(error = %chain(&error), "connection not accepted");
            }
            _ => {}
        }
    }

    fn on_sync(
        &self,
        peer: PeerId,
        connection: ConnectionId,
        sync: Sync,
        channel: ResponseChannel<Orders>,
    ) {
        let admission = &self.swarm.behaviour().admission;
        // The connection may have ended while its last message was on the way.
        let Some(from) = admission.network(connection) else { return };
        let stranger = !admission.has_joined(&peer);
        let Some(pass) = if stranger { &self.strangers } else { &self.gate }.enter(peer) else {
            tracing::debug!(%peer, "too many messages at once");
            return;
        };
        let (syncs, heard, stop) = (self.syncs.clone(), self.heard.clone(), self.stop.clone());
        let (gate, metrics) = (self.gate.clone(), Arc::clone(&self.syncs.metrics));
        self.tasks.spawn(async move {
            // Nobody receives once the swarm has stopped.
            let answered = async {
                let node = match syncs.identify(peer, from, &sync).await? {
                    Ok(node) => node,
                    Err(orders) => {
                        return heard.send(Heard::Refused(peer, channel, orders)).await.ok();
                    }
                };
                let _pass = if stranger {
                    heard.send(Heard::Joined(peer)).await.ok()?;
                    drop(pass);
                    gate.enter(peer)?
                } else {
                    pass
                };
                let orders = syncs.answer(peer, node, sync).await?;
                heard.send(Heard::Answered(channel, orders)).await.ok()
            };
            // Then its stream has ended, too: what hangs must not take the places of later messages.
            let answered = timeout(REQUEST_TIMEOUT, answered);
            if let Some(Err(_)) = stop.run_until_cancelled(answered).await {
                metrics.nodes.unanswered();
                tracing::debug!(%peer, limit = ?REQUEST_TIMEOUT, "message given up: it took too long");
            }
        });
    }

    fn act(&mut self, heard: Heard) {
        let behaviour = self.swarm.behaviour_mut();
        let (channel, orders) = match heard {
            Heard::Joined(peer) => return behaviour.admission.join(peer),
            Heard::Refused(peer, channel, orders) => {
                behaviour.admission.refuse(peer);
                (channel, orders)
            }
            Heard::Answered(channel, orders) => (channel, orders),
        };
        // The node may have gone; its next message says everything again.
        let _ = behaviour.sync.send_response(channel, orders);
    }
}

/// Where a swarm listens, from now on.
pub fn known(found: BTreeSet<Multiaddr>) -> Addresses {
    Arc::new(Mutex::new(found))
}
