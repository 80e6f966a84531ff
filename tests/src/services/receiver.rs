//! Who is called: a web server that notes each request, and answers as the path says.
//!
//! Anywhere in it, `/status/503` answers with this status; `/fails/2/x` fails twice with 503 and then answers 200;
//! `/slow/x` never answers; `/body/100` answers with so many bytes. Everything else is 200.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The parts of a path that say how it is answered.
const KINDS: [&str; 4] = ["status", "fails", "body", "slow"];

/// A request that came.
#[derive(Debug, Clone)]
pub struct Received {
    pub at: Instant,
    pub method: String,
    pub path: String,
    /// The names are in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Bytes,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Clones are the same receiver; it listens until the test ends.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    log: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    pub async fn open() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let receiver = Self { url, log: Arc::default() };
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let receiver = serving.clone();
                let answer = service_fn(move |request| {
                    let receiver = receiver.clone();
                    async move { Ok::<_, Infallible>(receiver.answer(request).await) }
                });
                let serve = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), answer);
                tokio::spawn(serve);
            }
        });
        Ok(receiver)
    }

    /// The requests that came for paths that begin so, in their order.
    pub fn received(&self, path: &str) -> Vec<Received> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().filter(|request| request.path.starts_with(path)).cloned().collect()
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<reqwest::Body> {
        let (head, body) = request.into_parts();
        let text = |value: &hyper::header::HeaderValue| {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        let headers =
            head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value)));
        let path = head.uri.path().to_owned();
        let received = Received {
            at: Instant::now(),
            method: head.method.to_string(),
            path: path.clone(),
            headers: headers.collect(),
            body: bytes_of(body).await,
        };
        let before = {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push(received);
            log.iter().filter(|request| request.path == path).count() - 1
        };
        let mut parts = path.split('/').skip_while(|part| !KINDS.contains(part));
        let (kind, number) = (parts.next(), parts.next().and_then(|text| text.parse().ok()));
        let (status, body) = match (kind, number) {
            (Some("status"), Some(status)) => (u16::try_from(status).unwrap_or(500), "no".into()),
            (Some("fails"), Some(times)) if before < times => (503, Bytes::from("not yet")),
            (Some("body"), Some(bytes)) => (200, vec![b'x'; bytes].into()),
            (Some("slow"), _) => std::future::pending().await,
            (_, _) => (200, Bytes::from("ok")),
        };
        let answer = Response::builder().status(status).header("x-receiver", "fanfold");
        answer.body(body.into()).expect("its status is between 100 and 999")
    }
}

async fn bytes_of(body: Incoming) -> Bytes {
    let whole = reqwest::Body::wrap(body);
    let answer: reqwest::Response = Response::new(whole).into();
    answer.bytes().await.unwrap_or_default()
}
