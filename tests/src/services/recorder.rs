//! A web server on loopback that answers nothing of use and writes down who asked for what.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub uri: String,
    pub authorization: String,
}

pub struct Recorder {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Recorder {
    /// Has nothing under any path.
    pub async fn start() -> Result<Self> {
        Self::answering(None).await
    }

    /// Sends everybody on to this address.
    pub async fn redirecting(to: &str) -> Result<Self> {
        Self::answering(Some(to.to_owned())).await
    }

    async fn answering(redirect: Option<String>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let recorded = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (seen, redirect) = (Arc::clone(&recorded), redirect.clone());
                let answer = service_fn(move |request: Request<Incoming>| {
                    let header = request.headers().get("authorization");
                    let authorization =
                        header.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
                    let uri = request.uri().to_string();
                    seen.lock().expect("no request panics").push(Seen { uri, authorization });
                    let answer = match &redirect {
                        None => Response::builder().status(StatusCode::NOT_FOUND),
                        Some(to) => {
                            Response::builder().status(StatusCode::FOUND).header("location", to)
                        }
                    };
                    async move {
                        Ok::<_, Infallible>(answer.body(reqwest::Body::default()).expect("plain"))
                    }
                });
                let serve = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), answer);
                tokio::spawn(serve);
            }
        });
        Ok(Self { url, seen })
    }

    /// What was asked since this was called last.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().expect("no request panics"))
    }
}
