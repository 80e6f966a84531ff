//! What a lease opens beside its data: the secrets of its package, its private image, and the
//! caches.

use common::error_chain::chain;
use common::plan::Image;
use common::protocol::{BlobReply, Cache, CacheFile, Version};
use common::secret::{SECRETS_BYTES_MAX, Secret};

use super::source::{Found, container, nth_image};
use crate::coordinator::leases::LiveLease;
use crate::data::bucket::blob_key::{BlobKey, Whose};
use crate::data::bucket::caches::OpenedCached;
use crate::p2p::backend::Port;
use crate::p2p::refusal::Refusal;
use crate::{registry, secrets};

/// The secrets that the package of a lease lists, of the workspace whose run it is.
pub async fn secrets<P: Port>(port: &P, live: &LiveLease) -> Result<Found, Refusal> {
    let ids = &container(live)?.secrets;
    let secrets = port.secrets(live.spec.workspace, ids).await?;
    // They were measured when the run started, and may have been replaced since.
    if secrets.iter().map(Secret::bytes).sum::<usize>() > SECRETS_BYTES_MAX {
        let message = format!("the secrets have more than {SECRETS_BYTES_MAX} bytes together");
        return Err(Refusal::never(message));
    }
    Ok(Found::Said(BlobReply::Secrets(secrets)))
}

/// What pulls image `n` of a lease from its registry, and nothing else.
pub async fn pull_token<P: Port>(port: &P, live: &LiveLease, n: u8) -> Result<Found, Refusal> {
    let Image::Registry { image, secret } = nth_image(live, n)? else {
        return Err(Refusal::never("the lease has no image of a registry"));
    };
    let token = port.pull_token(live.spec.workspace, secret.as_ref(), image).await?;
    Ok(Found::Said(BlobReply::PullToken(token)))
}

/// The files of a cache.
pub async fn cached<P: Port>(
    port: &P,
    live: &LiveLease,
    cache: Cache,
) -> Result<Vec<CacheFile>, Refusal> {
    Ok(port.cached(whose(live, cache)).await?)
}

/// One of them. A node says its name, but never whose cache it is in: that is the lease's.
pub async fn cache_file<P: Port>(
    port: &P,
    live: &LiveLease,
    (cache, name, version): (Cache, String, String),
    from: u64,
) -> Result<Found, Refusal> {
    if !common::data::cache_name::is_name(&name) {
        return Err(Refusal::never("there is no such file in the cache"));
    }
    let path = name.clone();
    let key = BlobKey::Cached { whose: whose(live, cache), name };
    Ok(match port.open_cached(&key, &version, from).await? {
        OpenedCached::Link { url, size: to, etag } => {
            let version = Some(Version { path, etag });
            let (digest, object) = (None, None);
            Found::Said(BlobReply::Redirect { url, from, to, digest, version, object })
        }
        OpenedCached::Bytes { size, bytes } => {
            Found::Here { bytes: size - from, digest: None, stream: bytes }
        }
    })
}

fn whose(live: &LiveLease, cache: Cache) -> Whose {
    match cache {
        Cache::User => Whose::User(live.spec.workspace),
        Cache::Shared => Whose::Everybody,
    }
}

impl From<secrets::Error> for Refusal {
    fn from(error: secrets::Error) -> Self {
        match error {
            secrets::Error::NotFound(_) | secrets::Error::Misuse { .. } => {
                Self::never(error.to_string())
            }
            secrets::Error::Key | secrets::Error::Db(_) => {
                tracing::error!(error = %chain(&error), "secrets not read");
                Self::later("the server cannot read its secrets")
            }
        }
    }
}

impl From<registry::Error> for Refusal {
    fn from(error: registry::Error) -> Self {
        use registry::Error as E;
        match error {
            E::Secret(secrets::Error::NotFound(_)) => {
                Self::never("the login for the private image is no longer there")
            }
            E::Secret(error) => error.into(),
            E::Silent(_) => Self::later(error.to_string()),
            E::Reference(_)
            | E::PasswordsOnly(_)
            | E::Login(_)
            | E::NotPublic { .. }
            | E::NoImage { .. }
            | E::Odd { .. }
            | E::Address { .. } => Self::never(error.to_string()),
        }
    }
}
