//! The accept loop, and the life of each connection.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use common::error_chain::chain;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::{Filter, Rejection};

use super::guard;
use super::pace::Limits;
use super::stream::Watched;
use super::table::{Caps, Seat, Table};
use crate::api::Answer;
use crate::config::HttpConfig;
use crate::limits::open_files;
use crate::metrics::Metrics;

/// How long requests may go on after the stop.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Between two tries after an accept that failed for want of something, such as a free file.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Between two log lines about that.
const ACCEPT_LOG_PAUSE: Duration = Duration::from_secs(10);
/// Connections that may still be open after they were evicted, while others are accepted.
const CLOSING_MAX: usize = 8;
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// What is read ahead, or written behind, for one connection.
const BUFFER_BYTES_MAX: usize = 128 * 1024;

#[derive(Debug, Clone)]
pub struct Options {
    pub limits: Limits,
    pub caps: Caps,
    /// What these are in front of is not one client.
    pub trusted_proxies: Vec<IpAddr>,
    pub metrics: Arc<Metrics>,
}

/// How to serve the connections, and when to end.
struct Server<F> {
    routes: F,
    metrics: Arc<Metrics>,
    http: http1::Builder,
    stop: CancellationToken,
    /// Ends what the stop has not ended.
    cut: CancellationToken,
}

impl Options {
    pub fn new(config: &HttpConfig, trusted_proxies: Vec<IpAddr>, metrics: Arc<Metrics>) -> Self {
        let count = |n: std::num::NonZeroU32| usize::try_from(n.get()).unwrap_or(usize::MAX);
        let caps = Caps::new(
            count(config.connections_max),
            count(config.connections_per_address_max),
            open_files::limit(),
        );
        Self { limits: Limits::new(config), caps, trusted_proxies, metrics }
    }
}

/// Serves the routes until `stop`, then lets requests end within a few seconds.
pub async fn serve<F>(routes: F, listener: TcpListener, options: Options, stop: CancellationToken)
where
    F: Filter<Extract = (Answer,), Error = Rejection> + Clone + Send + Sync + 'static,
    F::Future: Send,
{
    let table = Table::new(options.caps, options.limits, options.trusted_proxies);
    let mut http = http1::Builder::new();
    // Our own clocks also tell an idle connection from one that is slow with its head.
    http.header_read_timeout(None);
    http.max_header_size(HEAD_BYTES_MAX);
    http.max_buf_size(BUFFER_BYTES_MAX);
    let (metrics, cut) = (options.metrics, CancellationToken::new());
    let server = Arc::new(Server { routes, metrics, http, stop: stop.clone(), cut });
    let connections = TaskTracker::new();
    // An evicted connection is open until its task has run, which may be late on a busy machine.
    // The table never fills all of these places, so each wait is for such a connection.
    let places = Arc::new(Semaphore::new(options.caps.total + CLOSING_MAX));
    let mut logged = None;
    loop {
        let accepting = async {
            let place = places.clone().acquire_owned().await.expect("the semaphore is not closed");
            listener.accept().await.map(|(stream, remote)| (stream, remote, place))
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepting => accepted,
        };
        match accepted {
            Ok((stream, remote, place)) => {
                // A connection without a seat is closed at once.
                if let Some(seat) = table.admit(remote) {
                    connections.spawn(server.clone().drive(stream, seat, place));
                }
            }
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                log(&error, &mut logged);
                table.evict_one();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(STOP_GRACE, connections.wait()).await.is_err() {
        tracing::warn!("requests were still under way at the stop");
        server.cut.cancel();
        connections.wait().await;
    }
}

impl<F> Server<F>
where
    F: Filter<Extract = (Answer,), Error = Rejection> + Clone + Send + Sync + 'static,
    F::Future: Send,
{
    /// Drives one connection to its end, and gives its place back when it is closed.
    async fn drive(
        self: Arc<Self>,
        stream: TcpStream,
        seat: Arc<Seat>,
        _place: OwnedSemaphorePermit,
    ) {
        let connection = seat.connection.clone();
        let stream = TokioIo::new(Watched { stream, connection: connection.clone() });
        let routes = TowerToHyperService::new(warp::service(self.routes.clone()));
        let metrics = self.metrics.clone();
        let service = service_fn(move |request| {
            guard::answer(routes.clone(), seat.clone(), metrics.clone(), request)
        });
        let mut driven = std::pin::pin!(self.http.serve_connection(stream, service));
        let mut stopping = false;
        loop {
            tokio::select! {
                ended = driven.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(error = %chain(&error), "connection ended");
                    }
                    return;
                }
                overdue = connection.overdue() => {
                    tracing::debug!(remote = %connection.remote, ?overdue, "connection closed");
                    return;
                }
                () = connection.evicted.cancelled() => return,
                () = self.cut.cancelled() => return,
                () = self.stop.cancelled(), if !stopping => {
                    if !connection.is_busy() {
                        return;
                    }
                    stopping = true;
                    driven.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Whether the connection failed while it waited, which says nothing about the next one.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}

fn log(error: &io::Error, logged: &mut Option<Instant>) {
    if logged.is_none_or(|at| at.elapsed() > ACCEPT_LOG_PAUSE) {
        *logged = Some(Instant::now());
        tracing::warn!(error = %chain(&error), "cannot accept a connection: tries again");
    }
}
