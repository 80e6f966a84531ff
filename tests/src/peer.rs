//! A peer made by hand: it speaks the protocols, but not as a node would.

use std::time::Duration;

use anyhow::{Context as _, Result};
use common::protocol::BLOB_PROTOCOL;
use futures::StreamExt as _;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, Swarm};
use server::p2p::Hub;
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(libp2p::swarm::NetworkBehaviour)]
struct Behaviour {
    ping: libp2p::ping::Behaviour,
    streams: libp2p_stream::Behaviour,
}

/// A connection to a hub. It answers pings, or it would be cut off.
pub struct Peer {
    pub id: PeerId,
    server: PeerId,
    control: libp2p_stream::Control,
    closed: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Peer {
    /// Calls the hub with a new key.
    pub async fn call(hub: &Hub) -> Result<Self> {
        let behaviour = Behaviour {
            ping: libp2p::ping::Behaviour::default(),
            streams: libp2p_stream::Behaviour::new(),
        };
        let control = behaviour.streams.new_control();
        let mut swarm: Swarm<Behaviour> = libp2p::SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(
                Default::default(),
                libp2p::noise::Config::new,
                libp2p::yamux::Config::default,
            )?
            .with_behaviour(|_| behaviour)?
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(Duration::from_secs(600))
            })
            .build();
        let id = *swarm.local_peer_id();
        let address = hub.addresses().first().context("the hub listens")?.parse::<Multiaddr>()?;
        swarm.dial(address)?;
        let server = loop {
            let event = swarm.select_next_some().await;
            if let SwarmEvent::ConnectionEstablished { peer_id, .. } = event {
                break peer_id;
            }
            if let SwarmEvent::OutgoingConnectionError { error, .. } = event {
                return Err(error.into());
            }
        };
        let (ended, closed) = watch::channel(false);
        let task = tokio::spawn(async move {
            while let Some(event) = swarm.next().await {
                if let SwarmEvent::ConnectionClosed { .. } = event {
                    ended.send_replace(true);
                }
            }
        });
        Ok(Self { id, server, control, closed, task })
    }

    /// Opens a blob stream.
    pub async fn stream(&mut self) -> Result<Stream> {
        Ok(self.control.open_stream(self.server, StreamProtocol::new(BLOB_PROTOCOL)).await?)
    }

    /// Waits until the hub has closed the connection.
    pub async fn closed(&mut self) -> Result<()> {
        self.closed.wait_for(|closed| *closed).await?;
        Ok(())
    }

    pub fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
