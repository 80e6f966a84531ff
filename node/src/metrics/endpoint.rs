//! The port on which a node gives its metrics: `GET /metrics`, and nothing else.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::NodeMetrics;

/// Connections at once: a few servers of Prometheus ask every few seconds.
const CONNECTIONS_MAX: usize = 16;
/// The longest that a connection may last. Each is for one request.
const CONNECTION_MAX: Duration = Duration::from_secs(10);
/// Between two tries after an accept that failed for want of something, such as a free file.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Listens at this address.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "metrics are at /metrics");
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "the metrics of this node can be read by all who reach this port");
    }
    Ok(listener)
}

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, metrics: Arc<NodeMetrics>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a connection for metrics is not accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // One that is too many is closed.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (metrics, stop) = (Arc::clone(&metrics), stop.clone());
        tokio::spawn(async move {
            let _place = place;
            let driven = timeout(CONNECTION_MAX, drive(stream, metrics));
            // One that is too slow, or breaks off, asks again.
            let _ = stop.run_until_cancelled(driven).await;
        });
    }
}

async fn drive(stream: TcpStream, metrics: Arc<NodeMetrics>) -> hyper::Result<()> {
    let service =
        service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request, &metrics))));
    http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service).await
}

fn answer(request: &Request<Incoming>, metrics: &NodeMetrics) -> Response<String> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, text) = match (request.uri().path(), is_read) {
        ("/metrics", true) => (StatusCode::OK, metrics.render()),
        ("/metrics", false) => (StatusCode::METHOD_NOT_ALLOWED, "GET it\n".to_owned()),
        (_, _) => (StatusCode::NOT_FOUND, "the metrics are at /metrics\n".to_owned()),
    };
    let mut answer = Response::new(text);
    *answer.status_mut() = status;
    let content_type = HeaderValue::from_static(instruments::CONTENT_TYPE);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// An endpoint that ends with the token.
    async fn start(stop: &CancellationToken) -> SocketAddr {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, NodeMetrics::new(), stop.clone()));
        address
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn endpoint_gives_metrics_and_nothing_else() {
        let stop = CancellationToken::new();
        let address = start(&stop).await;

        let found = ask(address, "GET /metrics").await;

        assert!(found.starts_with("HTTP/1.1 200"), "{found}");
        assert!(found.contains("content-type: text/plain; version=0.0.4"), "{found}");
        assert!(found.contains("\nfanfold_node_build_info{"), "{found}");
        for (request, status) in
            [("POST /metrics", 405), ("GET /", 404), ("GET /metrics/../etc/passwd", 404)]
        {
            let answer = ask(address, request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
        }
        stop.cancel();
    }

    #[tokio::test]
    async fn endpoint_closes_connections_beyond_its_places() {
        let stop = CancellationToken::new();
        let address = start(&stop).await;
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            idle.push(TcpStream::connect(address).await.unwrap());
        }

        let mut one_more = TcpStream::connect(address).await.unwrap();

        let read = one_more.read(&mut [0]).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
        stop.cancel();
    }
}
