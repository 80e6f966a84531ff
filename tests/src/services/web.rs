//! A web server on loopback that has one file.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures::StreamExt as _;
use hyper::body::Incoming;
use hyper::header::{CONTENT_RANGE, ETAG, HeaderValue, RANGE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

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

/// The same in parts too, of a version that stays, until the handle is aborted. Then nobody listens
/// any more.
pub async fn serve_parts(bytes: impl Into<Bytes>) -> Result<(String, AbortHandle)> {
    let bytes = bytes.into();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let serving = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let bytes = bytes.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let answer = part(&bytes, request.headers().get(RANGE));
                async move { Ok::<_, Infallible>(answer) }
            });
            let serve = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .serve_connection(TokioIo::new(socket), answer);
            tokio::spawn(serve);
        }
    });
    Ok((url, serving.abort_handle()))
}

/// All of a file, or the part that is asked for.
fn part(bytes: &Bytes, range: Option<&HeaderValue>) -> Response<reqwest::Body> {
    let asked = range.and_then(|range| {
        let (from, to) = range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
        let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
        (from <= to && to < bytes.len()).then_some((from, to))
    });
    let answer = Response::builder().header(ETAG, "\"v\"");
    let answer = match asked {
        Some((from, to)) => answer
            .status(StatusCode::PARTIAL_CONTENT)
            .header(CONTENT_RANGE, format!("bytes {from}-{to}/{}", bytes.len()))
            .body(bytes.slice(from..=to).into()),
        None => answer.body(bytes.clone().into()),
    };
    answer.expect("its headers are plain")
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
