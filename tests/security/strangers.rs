//! Strangers at the port for nodes: none of them has a token, and no node waits for them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use common::protocol::Orders;
use futures::future::try_join_all;
use harness::peer::Peer;
use harness::set::{Set, chunk};
use harness::world::{lease, message};
use server::p2p::Limits;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// A node that nobody hinders is served in milliseconds; the strangers' timeouts are longer.
const PROMPT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn silent_streams_of_strangers_leave_nodes_their_places() -> Result<()> {
    // More strangers than one network may have, so that only the streams' own places count.
    let set = Set::with(Limits { strangers_per_network: 64, ..Limits::default() }).await?;
    let held = lease(1);
    let link = set.holder(held, chunk())?;
    link.sync(message()).await?;
    let mut strangers = try_join_all((0..40).map(|_| Peer::call(&set.hub))).await?;
    let mut streams = Vec::new();
    for stranger in &mut strangers {
        for _ in 0..8 {
            streams.push(stranger.stream().await?);
        }
    }

    let inputs = timeout(PROMPT, link.inputs(held)).await.context("the node was not served")?;

    assert_eq!(inputs?.len(), 1);
    assert_eq!(streams.len(), 320);
    Ok(())
}

#[tokio::test]
async fn silent_connections_leave_places_for_nodes() -> Result<()> {
    let set = Set::new().await?;
    let port = port(&set)?;
    let silent = try_join_all((0..300).map(|_| connect_from("127.0.0.2:0", port))).await?;

    let link = set.link("node.key")?;
    set.world.join_now(&link.peer_id());
    let orders = timeout(PROMPT, link.sync(message())).await.context("the node did not get in")?;

    assert!(matches!(orders?, Orders::Work { .. }));
    assert_eq!(silent.len(), 300);
    Ok(())
}

#[tokio::test]
async fn stranger_that_does_not_join_is_disconnected() -> Result<()> {
    let patience = Duration::from_millis(300);
    let set = Set::with(Limits { patience, ..Limits::default() }).await?;
    let mut stranger = Peer::call(&set.hub).await?;
    let link = set.link("node.key")?;
    set.world.join_now(&link.peer_id());
    // The server holds its answer back until the next message, longer than strangers may stay.
    let mut held = message();
    held.wait_ms = 30_000;
    let waiting = tokio::spawn({
        let link = link.clone();
        async move { link.sync(held).await }
    });

    timeout(PROMPT, stranger.closed()).await.context("the stranger is still connected")??;

    link.sync(message()).await?;
    assert!(waiting.await?.is_ok(), "the node kept its connection");
    Ok(())
}

#[tokio::test]
async fn crowd_of_strangers_is_replaced_oldest_first_and_nodes_stay() -> Result<()> {
    let limits = Limits { strangers: 8, strangers_per_network: 8, ..Limits::default() };
    let set = Set::with(limits).await?;
    let link = set.link("node.key")?;
    set.world.join_now(&link.peer_id());
    link.sync(message()).await?;
    let mut strangers = Vec::new();
    for _ in 0..24 {
        strangers.push(Peer::call(&set.hub).await?);
    }

    timeout(PROMPT, strangers[15].closed()).await.context("the sixteenth has made room")??;

    assert!(!strangers[23].is_closed(), "the newest has its turn");
    link.sync(message()).await?;
    let late = set.link("late.key")?;
    set.world.join_now(&late.peer_id());
    timeout(PROMPT, late.sync(message())).await.context("a new node gets in")??;
    Ok(())
}

#[tokio::test]
async fn refused_peer_costs_one_lookup_however_often_it_asks() -> Result<()> {
    let set = Set::new().await?;
    let link = set.link("node.key")?;
    let mut wrong = message();
    wrong.token = Some("wrong".to_owned());

    for _ in 0..20 {
        // Between two messages its connection may be closed.
        let answer = link.sync(wrong.clone()).await;
        assert!(!matches!(answer, Ok(Orders::Work { .. })), "{answer:?}");
    }

    assert_eq!(set.world.state().lookups, 1);
    let mut right = wrong;
    right.token = Some("right".to_owned());
    set.world.state().token.clone_from(&right.token);
    let joined = loop {
        if let Ok(orders) = link.sync(right.clone()).await {
            break orders;
        }
    };
    assert!(matches!(joined, Orders::Work { .. }), "another token is looked up at once");
    Ok(())
}

fn port(set: &Set) -> Result<u16> {
    let address = set.hub.addresses().first().context("the hub listens")?.clone();
    let (_, rest) = address.split_once("/tcp/").context("over TCP")?;
    Ok(rest.split('/').next().unwrap_or_default().parse()?)
}

/// Connects from another address of this machine, and says nothing.
async fn connect_from(from: &str, port: u16) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(from.parse()?)?;
    Ok(socket.connect(([127, 0, 0, 1], port).into()).await?)
}
