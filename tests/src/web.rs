//! A web server on loopback that has one file.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures::StreamExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Serves these bytes under every path until the test ends; gives the address.
pub async fn serve(bytes: impl Into<Bytes>) -> Result<String> {
    let bytes = bytes.into();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let bytes = bytes.clone();
            let answer = service_fn(move |_: Request<Incoming>| {
                let body = reqwest::Body::from(bytes.clone());
                async move { Ok::<_, Infallible>(Response::new(body)) }
            });
            let serve = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), answer);
            tokio::spawn(serve);
        }
    });
    Ok(url)
}

/// Answers every request with a file without a known size or end, a byte at a time, until the
/// test ends; gives the address.
pub async fn trickle(pause: Duration) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let answer = service_fn(move |_: Request<Incoming>| async move {
                let bytes = futures::stream::repeat(()).then(move |()| async move {
                    tokio::time::sleep(pause).await;
                    Ok::<_, Infallible>(Bytes::from_static(b"x"))
                });
                Ok::<_, Infallible>(Response::new(reqwest::Body::wrap_stream(bytes)))
            });
            let serve = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), answer);
            tokio::spawn(serve);
        }
    });
    Ok(url)
}
