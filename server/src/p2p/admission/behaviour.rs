//! Admission as a part of the swarm.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, FromSwarm, ListenFailure};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use tokio::time::Sleep;

use super::{Admission, Limits, Network};
use crate::metrics::Metrics;

pub struct Behaviour {
    admission: Admission,
    metrics: Arc<Metrics>,
    closing: VecDeque<(PeerId, ConnectionId)>,
    /// Ends with the time of the stranger that has the least left.
    timer: Pin<Box<Sleep>>,
}

impl Behaviour {
    pub fn new(limits: Limits, metrics: Arc<Metrics>) -> Self {
        Self {
            admission: Admission::new(limits),
            metrics,
            closing: VecDeque::new(),
            timer: Box::pin(tokio::time::sleep(limits.patience)),
        }
    }

    /// A peer has joined: its connections are no stranger's.
    pub fn join(&mut self, peer: PeerId) {
        self.admission.join(peer);
        self.count();
    }

    /// A peer was refused: it is disconnected as soon as it can have read why.
    pub fn refuse(&mut self, peer: PeerId) {
        self.admission.refuse(peer, Instant::now());
        self.count();
    }

    fn count(&self) {
        self.metrics.nodes.connected(self.admission.nodes());
    }

    pub fn has_joined(&self, peer: &PeerId) -> bool {
        self.admission.has_joined(peer)
    }

    /// From where a connection comes.
    pub fn network(&self, id: ConnectionId) -> Option<Network> {
        self.admission.network(id)
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        from: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.admission.begin(id, Network::of_multiaddr(from)).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        from: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let network = Network::of_multiaddr(from);
        let evicted = self
            .admission
            .establish(id, peer, network, Instant::now())
            .map_err(ConnectionDenied::new)?;
        self.closing.extend(evicted);
        self.count();
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        // The server dials nobody.
        Ok(dummy::ConnectionHandler)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most events of a swarm are only news")]
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.admission.end(connection_id);
                self.count();
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            if let Some((peer_id, id)) = self.closing.pop_front() {
                let connection = CloseConnection::One(id);
                return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection });
            }
            self.closing.extend(self.admission.overdue(Instant::now()));
            if !self.closing.is_empty() {
                continue;
            }
            let Some(deadline) = self.admission.next_deadline() else { return Poll::Pending };
            self.timer.as_mut().reset(deadline.into());
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
