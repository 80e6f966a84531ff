//! The one task that owns the swarm. It only carries: what takes time is done by tasks of its
//! own, and comes back through a channel.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::protocol::{BLOB_PROTOCOL, Orders, SYNC_PROTOCOL, Sync};
use futures::{FutureExt as _, StreamExt as _};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::transport::ListenerId;
use libp2p::identity::Keypair;
use libp2p::request_response::{self as messages, Message, ProtocolSupport, ResponseChannel};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, identify, noise, ping, tcp, yamux};
use libp2p_stream::IncomingStreams;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::blobs::{self, Blobs};
use super::desk::Desk;
use super::gate::Gate;
use super::port::Port;
use super::{Addresses, Error};
use crate::vitals::Vitals;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Well above the pause between two messages of a node.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
const CONNECTIONS_MAX: u32 = 4096;
const CONNECTIONS_PENDING_MAX: u32 = 256;
/// More than one, because the old connection of a node that lost its network ends late.
const CONNECTIONS_PER_PEER_MAX: u32 = 4;
const SUBSTREAMS_MAX: usize = 64;
const NEGOTIATING_MAX: usize = 32;
const SYNCS_PER_PEER_MAX: usize = 4;
const SYNCS_MAX: usize = 8192;
const STREAMS_PER_PEER_MAX: usize = 8;
const STREAMS_MAX: usize = 256;
/// Answers waiting for the swarm.
const ANSWERS_MAX: usize = 256;

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    sync: messages::cbor::Behaviour<Sync, Orders>,
    streams: libp2p_stream::Behaviour,
}

impl Behaviour {
    fn new(key: &Keypair) -> Self {
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(Some(CONNECTIONS_PENDING_MAX))
            .with_max_established_incoming(Some(CONNECTIONS_MAX))
            .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX));
        let about = identify::Config::new("/fanfold/1".to_owned(), key.public());
        let config = messages::Config::default()
            .with_request_timeout(REQUEST_TIMEOUT)
            .with_max_concurrent_streams(SYNCS_PER_PEER_MAX * 2);
        let sync = (StreamProtocol::new(SYNC_PROTOCOL), ProtocolSupport::Inbound);
        Self {
            limits: connection_limits::Behaviour::new(limits),
            identify: identify::Behaviour::new(about),
            ping: ping::Behaviour::default(),
            sync: messages::cbor::Behaviour::new([sync], config),
            streams: libp2p_stream::Behaviour::new(),
        }
    }
}

pub fn build(key: &Keypair) -> Result<Swarm<Behaviour>, Error> {
    let multiplexer = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(SUBSTREAMS_MAX);
        config
    };
    let swarm = libp2p::SwarmBuilder::with_existing_identity(key.clone())
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, multiplexer)
        .map_err(|error| Error::Transport(error.to_string()))?
        .with_behaviour(Behaviour::new)
        .map_err(|error| Error::Transport(error.to_string()))?
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(IDLE_TIMEOUT)
                .with_max_negotiating_inbound_streams(NEGOTIATING_MAX)
        })
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
    pub desk: Desk<P>,
    pub blobs: Blobs<P>,
    pub addresses: Addresses,
    pub tasks: TaskTracker,
    pub vitals: Vitals,
}

/// An answer on its way back.
type Answer = (ResponseChannel<Orders>, Orders);

impl<P: Port> Host<P> {
    /// Starts the swarm's task and the one that takes blob streams.
    pub fn start(self) {
        let Self { swarm, desk, blobs, addresses, tasks, vitals } = self;
        let stop = vitals.stop().clone();
        let incoming = swarm
            .behaviour()
            .streams
            .new_control()
            .accept(StreamProtocol::new(BLOB_PROTOCOL))
            .expect("a new swarm has no stream protocols yet");
        let (answers, answered) = mpsc::channel(ANSWERS_MAX);
        let gate = Gate::new(SYNCS_PER_PEER_MAX, SYNCS_MAX);
        let taking = take_streams(incoming, blobs, tasks.clone(), stop.clone());
        tasks.spawn(vitals.clone().attend("the transfers to nodes", taking));
        let carrier = Carrier { swarm, desk, addresses, gate, answers, tasks: tasks.clone(), stop };
        tasks.spawn(vitals.attend("the link to nodes", carrier.run(answered)));
        tasks.close();
    }
}

struct Carrier<P> {
    swarm: Swarm<Behaviour>,
    desk: Desk<P>,
    addresses: Addresses,
    gate: Gate,
    answers: mpsc::Sender<Answer>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl<P: Port> Carrier<P> {
    async fn run(mut self, mut answered: mpsc::Receiver<Answer>) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                event = self.swarm.select_next_some() => self.on_event(event),
                Some((channel, orders)) = answered.recv() => {
                    // The node may have gone; its next message says everything again.
                    let _ = self.swarm.behaviour_mut().sync.send_response(channel, orders);
                }
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most events of a swarm are only news")]
    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Sync(messages::Event::Message {
                peer,
                message: Message::Request { request, channel, .. },
                ..
            })) => self.on_sync(peer, request, channel),
            SwarmEvent::Behaviour(BehaviourEvent::Sync(messages::Event::InboundFailure {
                peer,
                error,
                ..
            })) => tracing::debug!(%peer, %error, "message not answered"),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event {
                peer,
                connection,
                result: Err(error),
            })) => {
                // Without pings nobody would notice that its network is gone.
                tracing::debug!(%peer, %error, "node does not answer pings");
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
                tracing::warn!(%error, "connection not accepted");
            }
            _ => {}
        }
    }

    fn on_sync(&self, peer: PeerId, sync: Sync, channel: ResponseChannel<Orders>) {
        let Some(pass) = self.gate.enter(peer) else {
            tracing::debug!(%peer, "too many messages at once");
            return;
        };
        let (desk, answers, stop) = (self.desk.clone(), self.answers.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let _pass = pass;
            let answered = async {
                if let Some(orders) = desk.answer(peer, sync).await {
                    // Nobody receives once the swarm has stopped.
                    let _ = answers.send((channel, orders)).await;
                }
            };
            stop.run_until_cancelled(answered).await;
        });
    }
}

/// Takes streams as fast as they come: libp2p drops those that are not taken at once.
async fn take_streams<P: Port>(
    mut incoming: IncomingStreams,
    blobs: Blobs<P>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let open = Gate::new(STREAMS_PER_PEER_MAX, STREAMS_MAX);
    let away = Gate::new(STREAMS_PER_PEER_MAX, STREAMS_MAX);
    while let Some(Some((peer, stream))) = stop.run_until_cancelled(incoming.next()).await {
        let stop = stop.clone();
        if let Some(pass) = open.enter(peer) {
            let blobs = blobs.clone();
            tasks.spawn(async move {
                let _pass = pass;
                stop.run_until_cancelled(blobs.serve(peer, stream)).await;
            });
        } else if let Some(pass) = away.enter(peer) {
            tasks.spawn(async move {
                let _pass = pass;
                stop.run_until_cancelled(blobs::turn_away(stream)).await;
            });
        } else {
            tracing::debug!(%peer, "blob stream dropped");
        }
    }
}

/// Where a swarm listens, from now on.
pub fn known(found: BTreeSet<Multiaddr>) -> Addresses {
    Arc::new(Mutex::new(found))
}
