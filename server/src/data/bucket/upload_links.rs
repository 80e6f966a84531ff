//! Links by which a node stores a result in the bucket itself, so that its bytes do not pass the
//! server. A link is bound to the digest of the bytes: the store refuses others.
//!
//! Not every store that speaks S3's language checks digests, and some obey headers that are not
//! signed, such as one that copies another object to the link's place. So these are found out
//! before the first link is given, by tries of both.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::digest::Digest;
use common::error_chain::chain;
use common::protocol::CHECKSUM_HEADER;
use object_store::ObjectStoreExt as _;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer as _};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use tokio::time::Instant;
use uuid::Uuid;

use super::blob_key::BlobKey;
use super::{Bucket, Kind, PROBED, path, unless_missing};
use crate::data::{DIRECT_LIVES, Error, Stored};

/// The most bytes that S3 takes at once. Larger results go through the server, in parts.
const BYTES_MAX: u64 = 5 << 30;
/// The header that makes an upload a copy of another object.
const COPY_HEADER: &str = "x-amz-copy-source";
/// How long the answers of a probe may take, and when another is made after one without them.
const PROBE_MAX: Duration = Duration::from_secs(5);
const PROBE_PAUSE: Duration = Duration::from_secs(60);

/// Where the bytes of a result are to be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadLink {
    pub url: String,
    /// What the header [`CHECKSUM_HEADER`] must say.
    pub checksum: String,
}

/// Whether links of a store take what they are for, and nothing else.
pub(super) struct LinkCheck {
    client: reqwest::Client,
    /// The bucket's name.
    bucket: String,
    known: Mutex<Known>,
    /// Held by who finds it out.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Copy)]
enum Known {
    /// Not asked, or the store did not answer; it is asked again then.
    Not(Option<Instant>),
    Strict(bool),
}

impl LinkCheck {
    pub fn new(client: reqwest::Client, bucket: String) -> Self {
        Self {
            client,
            bucket,
            known: Mutex::new(Known::Not(None)),
            turn: tokio::sync::Mutex::default(),
        }
    }

    async fn is_strict(&self, store: &AmazonS3) -> bool {
        if let Some(is_strict) = self.known() {
            return is_strict;
        }
        let _turn = self.turn.lock().await;
        if let Some(is_strict) = self.known() {
            return is_strict;
        }
        let known = match self.probe(store).await {
            Ok(is_strict) => {
                if !is_strict {
                    tracing::warn!(
                        "the bucket's store takes by a link what the link is not for: results pass \
                         through this server"
                    );
                }
                Known::Strict(is_strict)
            }
            Err(error) => {
                tracing::debug!(error = %chain(&error), "the bucket's links were not probed");
                Known::Not(Some(Instant::now() + PROBE_PAUSE))
            }
        };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
        matches!(known, Known::Strict(true))
    }

    /// What is known; false while it is too early to ask again.
    fn known(&self) -> Option<bool> {
        match *self.known.lock().unwrap_or_else(PoisonError::into_inner) {
            Known::Strict(is_strict) => Some(is_strict),
            Known::Not(Some(again)) if Instant::now() < again => Some(false),
            Known::Not(_) => None,
        }
    }

    async fn probe(&self, store: &AmazonS3) -> Result<bool, Error> {
        let at = |name| Path::from(format!("{PROBED}/{}-{name}", Uuid::now_v7()));
        let (first, second) = (at("right"), at("copy"));
        let tried = tokio::time::timeout(PROBE_MAX, self.try_links(store, &first, &second)).await;
        for path in [&first, &second] {
            let removed = store.delete(path);
            if let Ok(Err(error)) = tokio::time::timeout(PROBE_MAX, removed).await
                && !matches!(error, object_store::Error::NotFound { .. })
            {
                tracing::debug!(error = %chain(&error), "an object of a probe stays");
            }
        }
        tried.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
    }

    async fn try_links(
        &self,
        store: &AmazonS3,
        first: &Path,
        second: &Path,
    ) -> Result<bool, Error> {
        let put = async |link: &UploadLink, body: &'static str, copied: Option<&Path>| {
            let request = self.client.put(&link.url).header(CHECKSUM_HEADER, &link.checksum);
            let request = match copied {
                Some(path) => request.header(COPY_HEADER, format!("{}/{path}", self.bucket)),
                None => request,
            };
            let answer = request.body(body).send().await.map_err(std::io::Error::other)?;
            Ok::<_, Error>(answer.status())
        };
        let is_there =
            async |path| Ok::<_, Error>(unless_missing(store.head(path).await)?.is_some());
        let link = link_to(store, first, Digest::of(b"right")).await?;
        let wrong = put(&link, "wrong", None).await?;
        // Some say that it is wrong, and keep it.
        if wrong.is_success() || is_there(first).await? {
            return Ok(false);
        }
        let taken = put(&link, "right", None).await?;
        let other = link_to(store, second, Digest::of(b"other")).await?;
        let copied = put(&other, "wrong", Some(first)).await?;
        if copied.is_success() || is_there(second).await? {
            return Ok(false);
        }
        // Any other answer may have another reason.
        match wrong == StatusCode::BAD_REQUEST && taken.is_success() {
            true => Ok(true),
            false => Err(std::io::Error::other(format!("answers {wrong} and {taken}")).into()),
        }
    }
}

impl Bucket {
    /// A link at which the store itself takes these bytes and no others, or `None` where it cannot.
    pub async fn upload_link(
        &self,
        key: &BlobKey,
        stored: Stored,
    ) -> Result<Option<UploadLink>, Error> {
        let Kind::S3(store, check) = &self.kind else { return Ok(None) };
        if stored.size > BYTES_MAX || !check.is_strict(store).await {
            return Ok(None);
        }
        link_to(store, &path(key)?, stored.digest).await.map(Some)
    }
}

async fn link_to(store: &AmazonS3, at: &Path, digest: Digest) -> Result<UploadLink, Error> {
    let checksum = BASE64_STANDARD.encode(digest.bytes());
    let value = HeaderValue::from_str(&checksum).map_err(std::io::Error::other)?;
    let options = SignedUrlOptions::default()
        .with_signed_header(HeaderName::from_static(CHECKSUM_HEADER), value);
    let url = store.signed_url_opts(Method::PUT, at, DIRECT_LIVES, &options).await?;
    Ok(UploadLink { url: url.into(), checksum })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::{Cares, RUN, S3Server, WebServer, folder};

    fn key(n: u32) -> BlobKey {
        BlobKey::Staged { run: RUN, n }
    }

    fn stored(bytes: &[u8]) -> Stored {
        Stored { size: bytes.len() as u64, digest: Digest::of(bytes) }
    }

    #[tokio::test]
    async fn upload_link_takes_the_bytes_of_its_digest_alone() {
        let server = S3Server::start().await;
        let bucket = server.bucket().await;
        let UploadLink { url, checksum } =
            bucket.upload_link(&key(1), stored(b"hello")).await.unwrap().unwrap();
        let client = reqwest::Client::new();
        let put = async |url: &str, checksum: Option<&str>, body: &'static str| {
            let request = client.put(url).body(body);
            let request = match checksum {
                Some(checksum) => request.header(CHECKSUM_HEADER, checksum),
                None => request,
            };
            request.send().await.unwrap().status().is_success()
        };
        let of_evil = BASE64_STANDARD.encode(Digest::of(b"evil").bytes());
        let elsewhere = url.replace("/staged/1", "/staged/2");

        assert!(!put(&url, Some(&checksum), "evil").await, "other bytes");
        assert!(!put(&url, Some(&of_evil), "evil").await, "with another digest");
        assert!(!put(&url, None, "hello").await, "without a digest");
        assert!(!put(&elsewhere, Some(&checksum), "hello").await, "for another object");
        assert!(!put(&url, Some(&checksum), "hello hello").await, "longer");
        assert_eq!(bucket.size(&key(1)).await.unwrap(), None);
        assert!(put(&url, Some(&checksum), "hello").await);
        assert_eq!(bucket.size(&key(1)).await.unwrap(), Some(5));
        let copy = client.put(&url).header(CHECKSUM_HEADER, &checksum);
        let copy = copy.header(COPY_HEADER, "main/other").body("hello").send().await.unwrap();
        assert!(!copy.status().is_success(), "of another object");
        let left = server.root.path().join("main").join(PROBED);
        assert!(!left.exists() || std::fs::read_dir(left).unwrap().next().is_none());
    }

    #[tokio::test]
    async fn store_that_keeps_what_it_refuses_or_obeys_what_is_not_signed_gives_no_upload_links() {
        for cares in [Cares::Nothing, Cares::Digests] {
            let bucket = S3Server::start_with(cares).await.bucket().await;

            assert_eq!(bucket.upload_link(&key(1), stored(b"hello")).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn store_that_checks_no_digests_gives_no_upload_links() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let server = WebServer::start(|_| answer.to_vec()).await;
        let options = S3Server::options_at(&server.url);
        let bucket = Bucket::open(&options).await.unwrap();

        assert_eq!(bucket.upload_link(&key(1), stored(b"hello")).await.unwrap(), None);
        assert_eq!(bucket.upload_link(&key(2), stored(b"hello")).await.unwrap(), None);
        let seen = server.seen.lock().unwrap();
        let puts = seen.iter().filter(|head| head.starts_with("PUT")).count();
        assert_eq!(puts, 1, "it is found out once");
    }

    #[tokio::test]
    async fn upload_link_is_given_by_stores_alone_and_for_what_they_take_at_once() {
        let (_folder, bucket) = folder().await;
        assert_eq!(bucket.upload_link(&key(1), stored(b"hello")).await.unwrap(), None);
        let server = S3Server::start().await;
        let large = Stored { size: BYTES_MAX + 1, ..stored(b"hello") };

        assert_eq!(server.bucket().await.upload_link(&key(1), large).await.unwrap(), None);
    }
}
