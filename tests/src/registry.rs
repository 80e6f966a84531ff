//! A registry on loopback with one private image: it asks for tokens, and makes them for one login.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use common::digest::Digest;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

use crate::busybox;

pub const USERNAME: &str = "robot";
pub const TOKEN: &str = "REGISTRY-TOKEN-0123456789";
/// What the token service makes of the login.
const PULL_TOKEN: &str = "PULL-TOKEN-0123456789";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

pub struct Registry {
    pub host: String,
    /// Of the image's manifest.
    pub digest: String,
    /// What an engine calls the image.
    pub id: String,
    /// The path and the authorization of each request.
    pub seen: Arc<Mutex<Vec<(String, String)>>>,
}

struct Image {
    manifest: Bytes,
    blobs: [(String, Bytes); 2],
}

impl Registry {
    /// Serves `team/app:1`: busybox, unlike any other image.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let host = listener.local_addr()?.to_string();
        let (image, id) = Image::make(&host)?;
        let digest = digest(&image.manifest);
        let (image, seen) = (Arc::new(image), Arc::default());
        let registry = Self { host: host.clone(), digest, id, seen: Arc::clone(&seen) };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (image, seen, host) = (image.clone(), seen.clone(), host.clone());
                let answer = service_fn(move |request: Request<Incoming>| {
                    let answer = image.answer(&host, &request, &seen);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let serve = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), answer);
                tokio::spawn(serve);
            }
        });
        Ok(registry)
    }
}

impl Image {
    fn make(unique: &str) -> Result<(Self, String)> {
        let layer = Bytes::from(busybox::root_with(&[("private", unique.as_bytes())])?);
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {}, "history": [],
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        });
        let config = Bytes::from(config.to_string());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json",
                       "size": config.len(), "digest": digest(&config)},
            "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar",
                        "size": layer.len(), "digest": digest(&layer)}],
        });
        let id = digest(&config);
        let manifest = Bytes::from(manifest.to_string());
        let blobs = [(digest(&config), config), (digest(&layer), layer)];
        Ok((Self { manifest, blobs }, id))
    }

    fn answer(
        &self,
        host: &str,
        request: &Request<Incoming>,
        seen: &Mutex<Vec<(String, String)>>,
    ) -> Response<reqwest::Body> {
        let authorization = request.headers().get("authorization");
        let authorization =
            authorization.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let uri = request.uri().to_string();
        seen.lock().expect("no request panics").push((uri.clone(), authorization.clone()));
        let login = format!("Basic {}", STANDARD.encode(format!("{USERNAME}:{TOKEN}")));
        if uri.starts_with("/token?") && authorization == login {
            let made = json!({"token": PULL_TOKEN, "expires_in": 300}).to_string();
            return answer(StatusCode::OK, &[], made.into());
        }
        if authorization != format!("Bearer {PULL_TOKEN}") {
            let ask = format!(r#"Bearer realm="http://{host}/token",service="test""#);
            return answer(StatusCode::UNAUTHORIZED, &[("www-authenticate", &ask)], Bytes::new());
        }
        let known = digest(&self.manifest);
        match uri.strip_prefix("/v2/team/app/").and_then(|path| path.split_once('/')) {
            Some(("manifests", name)) if name == "1" || name == known => {
                let headers = [("content-type", MANIFEST), ("docker-content-digest", &known)];
                answer(StatusCode::OK, &headers, self.manifest.clone())
            }
            Some(("blobs", name)) => match self.blobs.iter().find(|(digest, _)| digest == name) {
                Some((_, bytes)) => answer(StatusCode::OK, &[], bytes.clone()),
                None => answer(StatusCode::NOT_FOUND, &[], Bytes::new()),
            },
            _ => answer(StatusCode::NOT_FOUND, &[], Bytes::new()),
        }
    }
}

fn answer(status: StatusCode, headers: &[(&str, &str)], bytes: Bytes) -> Response<reqwest::Body> {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    let body = reqwest::Body::from(bytes);
    answer.body(body).context("the headers are plain").expect("a test's headers are plain")
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Digest::of(bytes))
}
