//! TCP connections that end within seconds when their network is gone. Without this, a connection
//! whose packets get lost lives on in the kernel for a quarter of an hour.

use std::io;
use std::time::Duration;

use common::error_chain::chain;
use libp2p::core::Transport as _;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise, tcp, yamux};
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio_util::compat::TokioAsyncReadCompatExt as _;

/// How long what was sent may stay without an acknowledgement. Acknowledgements come from the
/// other machine's kernel, so neither a slow upload nor a busy server lacks them.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(8);
/// How often a connection on which nothing is sent is checked.
const KEEPALIVE: Duration = Duration::from_secs(3);

/// Encrypted connections to servers.
pub fn transport(key: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let watched = tcp.map(|stream, _| {
        let stream = TcpStream::from(stream);
        if let Err(error) = watch(&stream) {
            tracing::warn!(
                error = %chain(&error),
                "a dead connection to the server will be noticed late"
            );
        }
        stream.compat()
    });
    let upgraded = watched
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key)?)
        .multiplex(yamux::Config::default());
    Ok(upgraded.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed())
}

fn watch(stream: &TcpStream) -> io::Result<()> {
    let most = u32::try_from(UNACKNOWLEDGED_MAX.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(stream, most)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE)?;
    sockopt::set_socket_keepalive(stream, true)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn connections_end_when_nothing_is_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();

        watch(&stream).unwrap();

        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 8_000);
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), KEEPALIVE);
        assert!(sockopt::socket_keepalive(&stream).unwrap());
    }
}
