//! A registry on loopback with one image: for one login, or for anybody.

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use common::digest::Digest;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::machine::busybox;

pub const USERNAME: &str = "robot";
pub const TOKEN: &str = "REGISTRY-TOKEN-0123456789";
/// In the body of every refusal: nobody may ever see it.
pub const BODY: &str = "REGISTRY-BODY-4711";
/// What the token service makes, of the login or for anybody.
const PULL_TOKEN: &str = "PULL-TOKEN-0123456789";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub struct Registry {
    pub host: String,
    /// Of what the image's tag means.
    pub digest: String,
    /// What an engine calls the image.
    pub id: String,
    /// The path and the authorization of each request.
    pub seen: Arc<Mutex<Vec<(String, String)>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Login,
    Anybody,
}

struct Image {
    access: Access,
    /// By digest, each with its type; the tag means the last.
    manifests: Vec<(String, &'static str, Bytes)>,
    blobs: [(String, Bytes); 2],
}

impl Registry {
    /// Serves `team/app:1` to one login: busybox, unlike any other image.
    pub async fn start() -> Result<Self> {
        Self::serve(Access::Login, json!({})).await
    }

    /// Serves `team/app:1` to anybody as the public registries do: a list of platforms, packed
    /// layers, and blobs that are somewhere else. The image has this configuration.
    pub async fn public(config: Value) -> Result<Self> {
        Self::serve(Access::Anybody, config).await
    }

    /// The image's name.
    pub fn image(&self) -> String {
        format!("{}/team/app:1", self.host)
    }

    /// The paths that were asked for.
    pub fn paths(&self) -> Vec<String> {
        let seen = self.seen.lock().expect("no request panics");
        seen.iter().map(|(path, _)| path.clone()).collect()
    }

    /// Removes the image from the local engine, under all its names.
    pub fn forget(&self) {
        // As a rule a node has pulled it.
        let _ = busybox::docker(&["image", "rm", "--force", &self.id]);
    }

    async fn serve(access: Access, config: Value) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let host = listener.local_addr()?.to_string();
        let (image, id) = Image::make(access, &host, &config)?;
        let (digest, ..) = image.manifests.last().context("a manifest")?.clone();
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
    fn make(access: Access, unique: &str, config: &Value) -> Result<(Self, String)> {
        let root = busybox::root_with(&[("private", unique.as_bytes())])?;
        let config = json!({
            "architecture": architecture(), "os": "linux", "config": config, "history": [],
            "rootfs": {"type": "layers", "diff_ids": [digest(&root)]},
        });
        let config = Bytes::from(config.to_string());
        let (kind, layer) = match access {
            Access::Login => ("application/vnd.docker.image.rootfs.diff.tar", Bytes::from(root)),
            Access::Anybody => ("application/vnd.oci.image.layer.v1.tar+gzip", gzip(&root)?),
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json",
                       "size": config.len(), "digest": digest(&config)},
            "layers": [{"mediaType": kind, "size": layer.len(), "digest": digest(&layer)}],
        });
        let manifest = Bytes::from(manifest.to_string());
        let mut manifests = vec![(digest(&manifest), MANIFEST, manifest.clone())];
        if access == Access::Anybody {
            let entry = |architecture: &str, digest: String| {
                json!({"digest": digest, "size": manifest.len(), "mediaType": MANIFEST,
                       "platform": {"os": "linux", "architecture": architecture}})
            };
            let list = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
                entry("s390", digest(b"another")), entry(architecture(), digest(&manifest)),
            ]});
            let list = Bytes::from(list.to_string());
            manifests.push((digest(&list), INDEX, list));
        }
        let id = digest(&config);
        let blobs = [(digest(&config), config), (digest(&layer), layer)];
        Ok((Self { access, manifests, blobs }, id))
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
        let may = if self.access == Access::Login { login } else { String::new() };
        if uri.starts_with("/token?") && authorization == may {
            let made = json!({"token": PULL_TOKEN, "access_token": PULL_TOKEN, "expires_in": 300});
            return answer(StatusCode::OK, &[], made.to_string().into());
        }
        if let Some(blob) = uri.strip_prefix("/store/") {
            return self.blob(blob);
        }
        if authorization != format!("Bearer {PULL_TOKEN}") {
            let ask = format!(r#"Bearer realm="http://{host}/token",service="test""#);
            return answer(StatusCode::UNAUTHORIZED, &[("www-authenticate", &ask)], BODY.into());
        }
        match uri.strip_prefix("/v2/team/app/").and_then(|path| path.split_once('/')) {
            Some(("manifests", name)) => {
                let newest = (name == "1").then(|| self.manifests.last()).flatten();
                let found = self.manifests.iter().find(|(digest, ..)| digest == name).or(newest);
                let Some((digest, kind, bytes)) = found else { return not_found() };
                let headers = [("content-type", *kind), ("docker-content-digest", digest)];
                answer(StatusCode::OK, &headers, bytes.clone())
            }
            Some(("blobs", name)) if self.access == Access::Anybody => {
                let store =
                    format!("http://{}/store/{name}", host.replace("127.0.0.1", "localhost"));
                answer(StatusCode::TEMPORARY_REDIRECT, &[("location", &store)], BODY.into())
            }
            Some(("blobs", name)) => self.blob(name),
            _ => not_found(),
        }
    }

    fn blob(&self, name: &str) -> Response<reqwest::Body> {
        match self.blobs.iter().find(|(digest, _)| digest == name) {
            Some((_, bytes)) => answer(StatusCode::OK, &[], bytes.clone()),
            None => not_found(),
        }
    }
}

/// This machine's architecture, as images name it.
fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

fn gzip(bytes: &[u8]) -> Result<Bytes> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes)?;
    Ok(packed.finish()?.into())
}

fn not_found() -> Response<reqwest::Body> {
    answer(StatusCode::NOT_FOUND, &[], BODY.into())
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
