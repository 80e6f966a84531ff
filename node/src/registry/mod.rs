//! Pulls images from registries: by digest, behind the guard, each byte checked.
//!
//! The container engine is not asked to pull. It would resolve names and follow redirects into this
//! machine's own network, and pass on what a stranger's server says. Nothing of a registry's
//! answers but digests and sizes gets beyond this folder.

mod archive;
mod blob;
mod manifest;
mod pace;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::compute::image::{Pinned, is_on_this_machine};
use common::digest::Digest;
use common::error_chain::chain;
use common::secret::Hidden;
use reqwest::header::{ACCEPT, LOCATION};
use reqwest::{Response, StatusCode, Url};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::net::ssrf_guard::{self, Refused, SsrfGuard};
pub use archive::Pulled;
use manifest::{Blob, Manifest};
use pace::Pace;

/// How often a request is made that fails in a way which may pass.
const TRIES_MAX: u32 = 3;
/// After the first try; the next pause is longer.
const PAUSE: Duration = Duration::from_secs(2);
/// From a request to the head of its answer.
const HEAD_WAIT: Duration = Duration::from_secs(15);
const HOPS_MAX: usize = 5;
/// The most bytes of a manifest, and of an image's configuration.
const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
/// The most bytes of an image's layers, as they come and unpacked.
const IMAGE_BYTES_MAX: u64 = 32 << 30;
const UNPACKED_BYTES_MAX: u64 = 64 << 30;

/// Why an image cannot be pulled. The texts are for its owner.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the registry {host} {why}")]
    Address { host: String, why: Refused },
    #[error("the registry {0} does not let the image be pulled: it may need a login")]
    Login(String),
    #[error("the registry {0} no longer has the image")]
    NoImage(String),
    #[error("the registry {0} cannot be reached from the node")]
    Silent(String),
    #[error("the registry {0} is too slow")]
    Slow(String),
    #[error("the registry {host} {problem}")]
    Odd { host: String, problem: &'static str },
    #[error("the image {0}")]
    Unusable(String),
    #[error("node disk error")]
    Io(#[from] std::io::Error),
}

impl Error {
    /// Whether another try may go better.
    const fn may_pass(&self) -> bool {
        matches!(self, Self::Silent(_))
    }
}

/// Pulls images for one node.
#[derive(Debug)]
pub struct Puller {
    guard: SsrfGuard,
    // It reads the machine's certificates, which a node without such images may lack.
    client: OnceCell<reqwest::Client>,
}

/// One image on its way.
struct Pull<'a> {
    puller: &'a Puller,
    client: &'a reqwest::Client,
    image: &'a Pinned,
    token: Option<&'a Hidden>,
    pace: Pace,
}

impl Puller {
    pub fn new(guard: SsrfGuard) -> Self {
        Self { guard, client: OnceCell::new() }
    }

    /// Brings the image's files into a folder.
    pub async fn pull(
        &self,
        image: &Pinned,
        token: Option<&Hidden>,
        to: &Path,
    ) -> Result<Pulled, Error> {
        let client = self.client.get_or_try_init(|| async { self.guard.client() }).await;
        let client = client.map_err(std::io::Error::other)?;
        Pull { puller: self, client, image, token, pace: Pace::start(Instant::now()) }.all(to).await
    }

    /// Where a request goes. A registry on this machine needs no TLS, as engines have it.
    fn url(&self, image: &Pinned, path: &str) -> Result<Url, Refused> {
        let is_plain = self.guard.allows_private() && is_on_this_machine(image.host());
        let scheme = if is_plain { "http" } else { "https" };
        let (host, repository) = (image.host(), image.repository());
        self.guard.check(&format!("{scheme}://{host}/v2/{repository}/{path}"))
    }

    /// Where a redirect goes: never from https to what can be read on the way.
    fn hop(&self, from: &Url, location: Option<&str>) -> Result<Url, Refused> {
        let to = location.and_then(|to| from.join(to).ok()).ok_or(Refused::NotAUrl)?;
        if from.scheme() == "https" && to.scheme() != "https" {
            return Err(Refused::NotTheWeb);
        }
        self.guard.check(to.as_str())
    }
}

impl Pull<'_> {
    async fn all(&mut self, to: &Path) -> Result<Pulled, Error> {
        let mut document = self.manifest(self.image.digest()).await?;
        if let Some(digest) = manifest::for_this_machine(&document)? {
            document = self.manifest(digest).await?;
        }
        let Manifest { config, layers } = Manifest::read(&document)?;
        let text = self.document(&config).await?;
        let mut files: Vec<(Digest, PathBuf)> = Vec::new();
        for layer in &layers {
            let path = to.join(layer.digest.to_string());
            if !path.exists() {
                self.layer(layer, &path).await?;
            }
            files.push((layer.digest, path));
        }
        let config = manifest::checked_config(text, layers.len())?;
        blob::check_unpacked(&layers, to).await?;
        Ok(Pulled { config, layers: files })
    }

    /// A manifest with exactly this digest.
    async fn manifest(&mut self, digest: Digest) -> Result<Vec<u8>, Error> {
        let path = format!("manifests/sha256:{digest}");
        self.small(&path, Some(manifest::TYPES), digest).await
    }

    /// A blob that is a document.
    async fn document(&mut self, blob: &Blob) -> Result<Vec<u8>, Error> {
        let path = format!("blobs/sha256:{}", blob.digest);
        self.small(&path, None, blob.digest).await
    }

    async fn small(
        &mut self,
        path: &str,
        accept: Option<&str>,
        digest: Digest,
    ) -> Result<Vec<u8>, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_small(path, accept).await {
                Ok(bytes) if Digest::of(&bytes) == digest => return Ok(bytes),
                Ok(_) => return Err(self.odd("gives other bytes than their digest says")),
                Err(error) if error.may_pass() && tries < TRIES_MAX => sleep(PAUSE * tries).await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_small(&mut self, path: &str, accept: Option<&str>) -> Result<Vec<u8>, Error> {
        let mut response = self.get(path, accept).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece(&mut response).await? {
            if (bytes.len() + piece.len()) as u64 > DOCUMENT_BYTES_MAX {
                return Err(self.odd("describes the image at too great a length"));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Asks the registry, and follows where it redirects to.
    async fn get(&self, path: &str, accept: Option<&str>) -> Result<Response, Error> {
        let origin = self.puller.url(self.image, path).map_err(|why| self.address(why))?;
        let mut url = origin.clone();
        for _ in 0..=HOPS_MAX {
            let mut request = self.client.get(url.clone());
            if let Some(types) = accept {
                request = request.header(ACCEPT, types);
            }
            // The token is for the registry, not for where it keeps its blobs.
            if let Some(token) = self.token.filter(|_| url.origin() == origin.origin()) {
                request = request.bearer_auth(&token.0);
            }
            let response = timeout(HEAD_WAIT, request.send()).await;
            let response = response.map_err(|_| Error::Slow(self.host()))?;
            let response = response.map_err(|error| self.failed(&error))?;
            if !response.status().is_redirection() {
                return self.accepted(response);
            }
            let location = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            url = self.puller.hop(&url, location).map_err(|why| self.address(why))?;
        }
        Err(self.odd("redirects too often"))
    }

    fn accepted(&self, response: Response) -> Result<Response, Error> {
        let status = response.status();
        match status {
            StatusCode::OK => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Error::Login(self.host())),
            StatusCode::NOT_FOUND => Err(Error::NoImage(self.host())),
            StatusCode::TOO_MANY_REQUESTS => Err(self.silent()),
            status if status.is_server_error() => Err(self.silent()),
            _ => Err(self.odd("answers with an odd status")),
        }
    }

    /// The next bytes of an answer, if they come in time.
    async fn piece(&mut self, response: &mut Response) -> Result<Option<bytes::Bytes>, Error> {
        let piece = timeout_at(self.pace.deadline(), response.chunk()).await;
        let piece = piece.map_err(|_| Error::Slow(self.host()))?;
        let piece = piece.map_err(|error| self.failed(&error))?;
        self.pace.came(piece.as_ref().map_or(0, |piece| piece.len() as u64), Instant::now());
        Ok(piece)
    }

    fn failed(&self, error: &reqwest::Error) -> Error {
        match ssrf_guard::refusal(error) {
            Some(why) => self.address(why),
            None => {
                let host = self.image.host();
                tracing::info!(host, error = %chain(error), "registry not reached");
                self.silent()
            }
        }
    }

    fn host(&self) -> String {
        self.image.host().to_owned()
    }

    fn address(&self, why: Refused) -> Error {
        Error::Address { host: self.host(), why }
    }

    fn silent(&self) -> Error {
        Error::Silent(self.host())
    }

    fn odd(&self, problem: &'static str) -> Error {
        Error::Odd { host: self.host(), problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(host: &str) -> Pinned {
        format!("{host}/team/app@sha256:{}", Digest::of(b"")).parse().unwrap()
    }

    #[test]
    fn registry_is_requested_over_tls_unless_local_and_allowed() {
        let (closed, open) =
            (Puller::new(SsrfGuard::new(false)), Puller::new(SsrfGuard::new(true)));
        for host in [
            "127.0.0.1:5000",
            "10.0.0.1",
            "[::1]:5000",
            "2130706433:80",
            "127.1:80",
            "169.254.169.254",
        ] {
            assert_eq!(closed.url(&image(host), "x"), Err(Refused::Private), "{host}");
        }
        let url = |puller: &Puller, host: &str| puller.url(&image(host), "x").unwrap().to_string();
        assert_eq!(url(&closed, "r.example"), "https://r.example/v2/team/app/x");
        assert_eq!(url(&open, "10.0.0.1"), "https://10.0.0.1/v2/team/app/x");
        assert_eq!(url(&open, "127.0.0.1:5000"), "http://127.0.0.1:5000/v2/team/app/x");
    }

    #[test]
    fn blob_redirect_leads_to_the_public_web_over_tls_only() {
        let (closed, open) =
            (Puller::new(SsrfGuard::new(false)), Puller::new(SsrfGuard::new(true)));
        let from: Url = "https://r.example/v2/team/app/blobs/x".parse().unwrap();
        for to in ["https://127.0.0.1/x", "https://[::1]/x", "https://192.168.0.1/", "//10.0.0.1/"]
        {
            assert_eq!(closed.hop(&from, Some(to)), Err(Refused::Private), "{to}");
        }
        for to in ["http://cdn.example/x", "file:///etc/passwd"] {
            assert_eq!(open.hop(&from, Some(to)), Err(Refused::NotTheWeb), "{to}");
        }
        assert_eq!(open.hop(&from, None), Err(Refused::NotAUrl));
        assert!(closed.hop(&from, Some("https://cdn.example/x?signature=1")).is_ok());
        assert_eq!(closed.hop(&from, Some("/y")).unwrap().as_str(), "https://r.example/y");
        let plain: Url = "http://127.0.0.1:5000/v2/".parse().unwrap();
        assert!(open.hop(&plain, Some("http://127.0.0.1:6000/x")).is_ok());
    }
}
