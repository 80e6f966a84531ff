//! Registries of private images: a login is exchanged for a token that pulls one repository for
//! some minutes, so that no node ever sees the login.
//!
//! Customers choose the registry, and the registry chooses where tokens are made: both addresses
//! are strangers' and stay behind the guard.

mod challenge;
mod reference;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::digest::Digest;
use common::ids::WorkspaceId;
use common::secret::{Hidden, SecretId, Target};
use reqwest::header::{ACCEPT, HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use url::Url;

use crate::data::address::{self, Guard};
use crate::secrets::{self, KeyPair, Secrets};
use challenge::Challenge;
use reference::Reference;

/// What a token lives where its maker does not say, as the protocol has it.
const LIFE: Duration = Duration::from_secs(60);
const LIFE_MAX: Duration = Duration::from_secs(3600);
const TOKENS_MAX: usize = 1024;
/// A token must fit in a frame on its way to a node.
const ANSWER_BYTES_MAX: usize = 32 * 1024;
/// Each request, from its beginning to the end of its answer.
const PATIENCE: Duration = Duration::from_secs(20);
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// Asks registries; clones share the tokens.
#[derive(Clone)]
pub struct Registries {
    inner: Arc<Inner>,
}

struct Inner {
    secrets: Secrets,
    guard: Guard,
    // It reads the machine's certificates, which a server without private images lacks.
    client: OnceCell<reqwest::Client>,
    /// By the digest of the login and the repository.
    tokens: Mutex<HashMap<Digest, Kept>>,
}

struct Kept {
    token: Option<Hidden>,
    until: Instant,
}

/// Why an image cannot be pulled; the text is for its owner.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0:?} is no image of a registry")]
    Reference(String),
    #[error(
        "the registry {0} takes only the password itself, which no node may see: push the image \
         to Fanfold instead (`fanfold image push`)"
    )]
    PasswordsOnly(String),
    #[error("the registry {0} does not accept the package's username and token for this image")]
    Login(String),
    #[error("the registry {host} has no image {image:?}")]
    NoImage { host: String, image: String },
    #[error("the registry {host} {problem}")]
    Odd { host: String, problem: &'static str },
    #[error("the registry {host} cannot be used: {why}")]
    Address { host: String, why: address::Refused },
    #[error("the registry {0} does not answer")]
    Silent(String),
    #[error(transparent)]
    Secret(#[from] secrets::Error),
}

/// The registry that an image is pulled from: its host, and its port if there is one.
pub fn host_of(reference: &str) -> Result<String, Error> {
    Ok(Reference::parse(reference)?.host)
}

impl Registries {
    pub fn new(secrets: Secrets, guard: Guard) -> Self {
        let inner = Inner { secrets, guard, client: OnceCell::new(), tokens: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// The image at the digest that its reference means now, pulled with the login that this
    /// secret of the workspace holds.
    pub async fn pin(
        &self,
        owner: WorkspaceId,
        secret: &SecretId,
        reference: &str,
    ) -> Result<String, Error> {
        let image = Reference::parse(reference)?;
        let login = self.inner.secrets.open(owner, secret, &Target::Registry(&image.host)).await?;
        let token = self.inner.token(&login, &image).await?;
        let digest = self.inner.digest(&image, token.as_ref()).await?;
        Ok(format!("{}@{digest}", image.name))
    }

    /// A token that pulls the image and nothing else; `None` where the registry asks for nothing.
    pub async fn pull_token(
        &self,
        owner: WorkspaceId,
        secret: &SecretId,
        reference: &str,
    ) -> Result<Option<Hidden>, Error> {
        let image = Reference::parse(reference)?;
        let login = self.inner.secrets.open(owner, secret, &Target::Registry(&image.host)).await?;
        self.inner.token(&login, &image).await
    }
}

impl Inner {
    async fn token(&self, login: &KeyPair, image: &Reference) -> Result<Option<Hidden>, Error> {
        let KeyPair { access_key, secret_key } = login;
        let Reference { host, repository, .. } = image;
        let key =
            Digest::of(format!("{access_key}\0{secret_key}\0{host}\0{repository}").as_bytes());
        if let Some(kept) = self.tokens().get(&key).filter(|kept| kept.until > Instant::now()) {
            return Ok(kept.token.clone());
        }
        let (token, life) = match self.challenge(image).await? {
            None => (None, LIFE),
            Some(challenge) => self.exchange(login, image, &challenge).await?,
        };
        let mut tokens = self.tokens();
        let now = Instant::now();
        tokens.retain(|_, kept| kept.until > now);
        if tokens.len() < TOKENS_MAX {
            // Whoever gets it late still has half its life for the pull.
            let until = now + life.min(LIFE_MAX) / 2;
            tokens.insert(key, Kept { token: token.clone(), until });
        }
        Ok(token)
    }

    /// What the registry asks for; `None` where it is open.
    async fn challenge(&self, image: &Reference) -> Result<Option<Challenge>, Error> {
        let url = self.url(image, "")?;
        let answer = self.send(image, self.client(image).await?.get(url)).await?;
        match answer.status() {
            StatusCode::OK => Ok(None),
            StatusCode::UNAUTHORIZED => challenge(answer.headers(), &image.host).map(Some),
            status => Err(odd(&image.host, status, "is none, or speaks no version 2")),
        }
    }

    /// Has the token's maker make one for the login.
    async fn exchange(
        &self,
        login: &KeyPair,
        image: &Reference,
        challenge: &Challenge,
    ) -> Result<(Option<Hidden>, Duration), Error> {
        #[derive(Deserialize)]
        struct Made {
            #[serde(alias = "access_token")]
            token: Hidden,
            expires_in: Option<u64>,
        }
        let host = &image.host;
        let realm = self.realm(image, challenge)?;
        let request = self.client(image).await?.get(realm);
        let request = request.basic_auth(&login.access_key, Some(&login.secret_key));
        let answer = self.send(image, request).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(Error::Login(host.clone()));
            }
            status => return Err(odd(host, status, "has a token service that makes no token")),
        }
        let made: Made = serde_json::from_slice(&body(answer, host).await?).map_err(|_| {
            Error::Odd { host: host.clone(), problem: "has a token service that makes no token" }
        })?;
        Ok((Some(made.token), made.expires_in.map_or(LIFE, Duration::from_secs)))
    }

    /// Where the token is made, and what for. The login goes there: never in plain text, unless
    /// the registry itself is on this machine.
    fn realm(&self, image: &Reference, challenge: &Challenge) -> Result<Url, Error> {
        let problem = |problem| Error::Odd { host: image.host.clone(), problem };
        let mut realm: Url = challenge
            .realm
            .parse()
            .map_err(|_| problem("names a token service whose address cannot be read"))?;
        if realm.scheme() != "https" && !self.is_on_this_machine(&realm) {
            return Err(problem("names a token service without https"));
        }
        self.check(image, &realm)?;
        let scope = format!("repository:{}:pull", image.repository);
        let service = challenge.service.as_deref().map(|service| ("service", service));
        realm.query_pairs_mut().extend_pairs(service).append_pair("scope", &scope);
        Ok(realm)
    }

    /// The digest that the image's tag means now.
    async fn digest(&self, image: &Reference, token: Option<&Hidden>) -> Result<String, Error> {
        let host = image.host.clone();
        let url = self.url(image, &format!("{}/manifests/{}", image.repository, image.version))?;
        let mut request = self.client(image).await?.head(url).header(ACCEPT, MANIFESTS);
        if let Some(token) = token {
            request = request.bearer_auth(&token.0);
        }
        let answer = self.send(image, request).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(Error::Login(host)),
            StatusCode::NOT_FOUND => {
                return Err(Error::NoImage { host, image: image.whole.clone() });
            }
            status => return Err(odd(&host, status, "does not describe the image")),
        }
        let digest = answer.headers().get("docker-content-digest").and_then(|it| it.to_str().ok());
        let digest = digest.filter(|digest| reference::is_digest(digest)).map(ToOwned::to_owned);
        let problem = "does not tell the image's digest: push the image to Fanfold instead \
                       (`fanfold image push`)";
        digest.ok_or(Error::Odd { host, problem })
    }

    /// An address of the registry's API. A registry on this machine needs no TLS, as engines have
    /// it.
    fn url(&self, image: &Reference, path: &str) -> Result<Url, Error> {
        let no_image = || Error::Reference(image.whole.clone());
        let mut url: Url =
            format!("https://{}/v2/{path}", image.host).parse().map_err(|_| no_image())?;
        let plain: Url =
            format!("http://{}/v2/{path}", image.host).parse().map_err(|_| no_image())?;
        if self.is_on_this_machine(&plain) {
            url = plain;
        }
        self.check(image, &url)?;
        Ok(url)
    }

    fn is_on_this_machine(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        let loopback = host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback());
        loopback && self.guard.check(url).is_ok()
    }

    fn check(&self, image: &Reference, url: &Url) -> Result<(), Error> {
        let refused = |why| Error::Address { host: image.host.clone(), why };
        self.guard.check(url).map_err(refused)
    }

    async fn client(&self, image: &Reference) -> Result<&reqwest::Client, Error> {
        // No redirects: the login must not follow one.
        let made = self.client.get_or_try_init(|| async { self.guard.client() }).await;
        made.map_err(|error| silent(&image.host, &error))
    }

    async fn send(
        &self,
        image: &Reference,
        request: reqwest::RequestBuilder,
    ) -> Result<Response, Error> {
        let sent = request.timeout(PATIENCE).send().await.map_err(reqwest::Error::without_url);
        sent.map_err(|error| match address::refusal(&error) {
            Some(why) => Error::Address { host: image.host.clone(), why: why.clone() },
            None => silent(&image.host, &error),
        })
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Kept>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn challenge(headers: &HeaderMap, host: &str) -> Result<Challenge, Error> {
    let texts = || headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    if let Some(challenge) = texts().find_map(Challenge::parse) {
        return Ok(challenge);
    }
    if texts().any(challenge::is_basic) {
        return Err(Error::PasswordsOnly(host.to_owned()));
    }
    Err(Error::Odd { host: host.to_owned(), problem: "does not say where tokens are made" })
}

fn odd(host: &str, status: StatusCode, problem: &'static str) -> Error {
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Error::Silent(host.to_owned());
    }
    Error::Odd { host: host.to_owned(), problem }
}

fn silent(host: &str, error: &reqwest::Error) -> Error {
    tracing::info!(host, error = error as &dyn std::error::Error, "registry not reached");
    Error::Silent(host.to_owned())
}

async fn body(mut answer: Response, host: &str) -> Result<Bytes, Error> {
    let mut body = BytesMut::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| silent(host, &error))? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(Error::Odd { host: host.to_owned(), problem: "says too much" });
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

#[cfg(test)]
#[path = "registry/tests.rs"]
mod tests;
