//! A TCP proxy whose other side can be taken away, as a network or a stopped server is.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

const BUFFER_BYTES: usize = 64 * 1024;

/// What becomes of bytes and connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Connections stay and bytes are kept back, as where packets get lost.
    Silent,
    /// Connections are closed, those that there are and new ones, as where nobody listens.
    Closed,
}

/// Passes on what comes to its address, as long as it is open.
#[derive(Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a port of its own on loopback.
    pub async fn start(to: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (state, states) = watch::channel(State::Open);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(carry(socket, to, states.clone()));
            }
        });
        Ok(Self { address, state, task })
    }

    /// From now on bytes are kept back, and no connection ends.
    pub fn keep_silent(&self) {
        self.state.send_replace(State::Silent);
    }

    /// From now on connections are closed.
    pub fn close(&self) {
        self.state.send_replace(State::Closed);
    }

    /// From now on everything passes.
    pub fn open(&self) {
        self.state.send_replace(State::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(socket: TcpStream, to: SocketAddr, mut state: watch::Receiver<State>) {
    let Ok(state_now) = state.wait_for(|state| *state != State::Silent).await.map(|state| *state)
    else {
        return;
    };
    if state_now == State::Closed {
        return;
    }
    let Ok(server) = TcpStream::connect(to).await else { return };
    // What is small is sent at once, as without a proxy.
    let _ = (socket.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = socket.into_split();
    let (from_server, to_server) = server.into_split();
    let up = pump(from_client, to_server, state.clone());
    let down = pump(from_server, to_client, state.clone());
    tokio::select! {
        // Each direction ends by itself: one side may have said everything before the other.
        _ = async { tokio::join!(up, down) } => {}
        _ = state.wait_for(|state| *state == State::Closed) => {}
    }
}

/// Carries bytes in one direction, up to its end.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let n = from.read(&mut buffer).await?;
        if state.wait_for(|state| *state != State::Silent).await.is_err() || n == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..n]).await?;
    }
}
