//! Registries of images: what a tag means now is resolved here, and a login is exchanged for a
//! token that pulls one repository for some minutes, so that no node ever sees the login. Where
//! anybody may pull, the token is made without a login.
//!
//! Customers choose the registry, and the registry chooses where tokens are made: both addresses
//! are strangers' and stay behind the guard. What a registry says is never passed on.

mod challenge;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::compute::image;
use common::compute::image::{NotAnImage, Pinned, Reference, is_on_this_machine};
use common::digest::Digest;
use common::error_chain::chain;
use common::ids::WorkspaceId;
use common::secret::{Hidden, SecretId, Target};
use reqwest::header::{ACCEPT, HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};
use url::Url;

use crate::data::ssrf_guard;
use crate::data::ssrf_guard::Guard;
use crate::limits::concurrency::KeyedSemaphore;
use crate::secrets::{self, KeyPair, Secrets};
use challenge::{Challenge, LIFE};

const LIFE_MAX: Duration = Duration::from_secs(3600);
const TOKENS_MAX: usize = 1024;
/// A token must fit in a frame on its way to a node.
const ANSWER_BYTES_MAX: usize = 32 * 1024;
/// Each request, from its beginning to the end of its answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// All requests for one image together.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(45);
/// Images that are asked for at a time, for one workspace and in all: registries may be slow.
const PLACES_EACH: usize = 4;
const PLACES_TOTAL: usize = 64;
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
    // It reads the machine's certificates, which a server without registries lacks.
    client: OnceCell<reqwest::Client>,
    places: KeyedSemaphore<WorkspaceId>,
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
    #[error(transparent)]
    Reference(#[from] NotAnImage),
    #[error(
        "the registry {0} takes only the password itself, which no node may see: push the image \
         to Fanfold instead (`fanfold image push`)"
    )]
    PasswordsOnly(String),
    #[error("the registry {0} does not accept the package's username and token for this image")]
    Login(String),
    #[error(
        "the registry {host} has no image {image:?} that can be pulled without a login: correct \
         its name, give the package private_image, username and token, or push the image to \
         Fanfold (`fanfold image push`)"
    )]
    NotPublic { host: String, image: String },
    #[error(
        "the registry {host} has no image {image:?}: correct its name, or push the image to \
         Fanfold (`fanfold image push`)"
    )]
    NoImage { host: String, image: String },
    #[error("the registry {host} {problem}")]
    Odd { host: String, problem: &'static str },
    #[error(
        "the registry {host} cannot be used: {why}; correct the image's name, or push the image to \
         Fanfold (`fanfold image push`)"
    )]
    Address { host: String, why: ssrf_guard::Refused },
    #[error(
        "the registry {0} cannot be reached: run the job again later, or push the image to \
         Fanfold (`fanfold image push`)"
    )]
    Silent(String),
    #[error(transparent)]
    Secret(#[from] secrets::Error),
}

/// The registry that an image is pulled from: its host, and its port if there is one.
pub fn host_of(reference: &str) -> Result<String, Error> {
    Ok(reference.parse::<Reference>()?.host)
}

impl Registries {
    pub fn new(secrets: Secrets, guard: Guard) -> Self {
        let inner = Inner {
            secrets,
            guard,
            client: OnceCell::new(),
            places: KeyedSemaphore::new(PLACES_EACH, PLACES_TOTAL),
            tokens: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The image at the digest that its reference means now. `secret` is the id of the workspace's
    /// secret that holds the login; `None` for an image that anybody may pull.
    pub async fn pin(
        &self,
        owner: WorkspaceId,
        secret: Option<&SecretId>,
        reference: &str,
    ) -> Result<Pinned, Error> {
        let image: Reference = reference.parse()?;
        let login = self.login(owner, secret, &image).await?;
        let pinned = async {
            let _place = self.inner.places.take(owner).await;
            let token = self.inner.token(login.as_ref(), &image).await?;
            self.inner.digest(&image, login.is_some(), token.as_ref()).await
        };
        let pinned = timeout(PATIENCE_IN_ALL, pinned).await;
        let digest = pinned.map_err(|_| Error::Silent(image.host.clone()))??;
        Ok(image.at(digest))
    }

    /// A token that pulls the image and nothing else; `None` where the registry asks for nothing.
    pub async fn pull_token(
        &self,
        owner: WorkspaceId,
        secret: Option<&SecretId>,
        image: &Pinned,
    ) -> Result<Option<Hidden>, Error> {
        let image: Reference = image.to_string().parse()?;
        let login = self.login(owner, secret, &image).await?;
        let token = async {
            let _place = self.inner.places.take(owner).await;
            self.inner.token(login.as_ref(), &image).await
        };
        let token = timeout(PATIENCE_IN_ALL, token).await;
        token.map_err(|_| Error::Silent(image.host.clone()))?
    }

    async fn login(
        &self,
        owner: WorkspaceId,
        secret: Option<&SecretId>,
        image: &Reference,
    ) -> Result<Option<KeyPair>, Error> {
        let Some(secret) = secret else { return Ok(None) };
        Ok(Some(self.inner.secrets.open(owner, secret, &Target::Registry(&image.host)).await?))
    }
}

impl Inner {
    async fn token(
        &self,
        login: Option<&KeyPair>,
        image: &Reference,
    ) -> Result<Option<Hidden>, Error> {
        let Reference { host, repository, .. } = image;
        let login_text =
            login.map(|KeyPair { access_key, secret_key }| format!("{access_key}\0{secret_key}"));
        let key = Digest::of(format!("{login_text:?}\0{host}\0{repository}").as_bytes());
        if let Some(kept) = self.tokens().get(&key).filter(|kept| kept.until > Instant::now()) {
            return Ok(kept.token.clone());
        }
        let (token, life) = match self.challenge(image, login.is_some()).await? {
            None => (None, LIFE),
            Some(challenge) => self.exchange(login, image, &challenge).await?,
        };
        let mut tokens = self.tokens();
        let now = Instant::now();
        tokens.retain(|_, kept| kept.until > now);
        if tokens.len() < TOKENS_MAX {
            // A late receiver still has half its life for the pull.
            let until = now + life.min(LIFE_MAX) / 2;
            tokens.insert(key, Kept { token: token.clone(), until });
        }
        Ok(token)
    }

    /// What the registry asks for; `None` where it is open.
    async fn challenge(
        &self,
        image: &Reference,
        has_login: bool,
    ) -> Result<Option<Challenge>, Error> {
        let url = self.url(image, "")?;
        let answer = self.send(image, self.client(image).await?.get(url)).await?;
        match answer.status() {
            StatusCode::OK => Ok(None),
            StatusCode::UNAUTHORIZED => match challenge(answer.headers(), &image.host) {
                Err(Error::PasswordsOnly(_)) if !has_login => Err(not_public(image)),
                challenge => challenge.map(Some),
            },
            status => Err(odd(&image.host, status, "is none, or speaks no version 2")),
        }
    }

    /// Has the token's maker make one, for the login where there is one.
    async fn exchange(
        &self,
        login: Option<&KeyPair>,
        image: &Reference,
        challenge: &Challenge,
    ) -> Result<(Option<Hidden>, Duration), Error> {
        let host = &image.host;
        let realm = self.realm(image, challenge)?;
        let mut request = self.client(image).await?.get(realm);
        if let Some(KeyPair { access_key, secret_key }) = login {
            request = request.basic_auth(access_key, Some(secret_key));
        }
        let answer = self.send(image, request).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if login.is_some() => {
                return Err(Error::Login(host.clone()));
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(not_public(image)),
            status => return Err(odd(host, status, "has a token service that makes no token")),
        }
        challenge::made(&body(answer, host).await?).ok_or_else(|| Error::Odd {
            host: host.clone(),
            problem: "has a token service that makes no token",
        })
    }

    /// Where the token is made, and what for. The login goes there: never in plain text, unless
    /// the token service is on this machine.
    fn realm(&self, image: &Reference, challenge: &Challenge) -> Result<Url, Error> {
        let problem = |problem| Error::Odd { host: image.host.clone(), problem };
        let mut realm: Url = challenge
            .realm
            .parse()
            .map_err(|_| problem("names a token service whose address cannot be read"))?;
        let host = realm.host_str().unwrap_or_default();
        let is_plain = self.guard.allows_private() && is_on_this_machine(host);
        if realm.scheme() != "https" && !is_plain {
            return Err(problem("names a token service without https"));
        }
        self.check(image, &realm)?;
        let scope = format!("repository:{}:pull", image.repository);
        let service = challenge.service.as_deref().map(|service| ("service", service));
        realm.query_pairs_mut().extend_pairs(service).append_pair("scope", &scope);
        Ok(realm)
    }

    /// The digest that the image's tag means now.
    async fn digest(
        &self,
        image: &Reference,
        has_login: bool,
        token: Option<&Hidden>,
    ) -> Result<Digest, Error> {
        let host = image.host.clone();
        let url = self.url(image, &format!("{}/manifests/{}", image.repository, image.version))?;
        let mut request = self.client(image).await?.head(url).header(ACCEPT, MANIFESTS);
        if let Some(token) = token {
            request = request.bearer_auth(&token.0);
        }
        let answer = self.send(image, request).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if has_login => {
                return Err(Error::Login(host));
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(not_public(image)),
            StatusCode::NOT_FOUND => {
                return Err(Error::NoImage { host, image: image.whole.clone() });
            }
            status => return Err(odd(&host, status, "does not describe the image")),
        }
        let digest = answer.headers().get("docker-content-digest").and_then(|it| it.to_str().ok());
        let problem = "does not tell the image's digest: push the image to Fanfold instead \
                       (`fanfold image push`)";
        digest.and_then(image::digest).ok_or(Error::Odd { host, problem })
    }

    /// An address of the registry's API. A registry on this machine needs no TLS, as engines have
    /// it.
    fn url(&self, image: &Reference, path: &str) -> Result<Url, Error> {
        let is_plain = self.guard.allows_private() && is_on_this_machine(&image.host);
        let scheme = if is_plain { "http" } else { "https" };
        let url = format!("{scheme}://{}/v2/{path}", image.host).parse();
        let url = url.map_err(|_| NotAnImage::of(&image.whole))?;
        self.check(image, &url)?;
        Ok(url)
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
        sent.map_err(|error| match ssrf_guard::refusal(&error) {
            Some(why) => Error::Address { host: image.host.clone(), why: why.clone() },
            None => silent(&image.host, &error),
        })
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Kept>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_public(image: &Reference) -> Error {
    Error::NotPublic { host: image.host.clone(), image: image.whole.clone() }
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
    tracing::info!(host, error = %chain(error), "registry not reached");
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
mod tests;
