//! What is opened with customers' keys: their buckets and URLs, kept open for a short while.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::data::location::{Cloud, Source};
use common::ids::WorkspaceId;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::Error;
use super::cloud::CloudBucket;
use super::source::Opened;
use super::source::http::WebFile;
use super::ssrf_guard::Guard;
use crate::secrets::KeyPair;

/// How long a changed or deleted secret may still be used.
const KEPT: Duration = Duration::from_secs(60);
const KEPT_MAX: usize = 64;

/// Opens customers' places, all behind one guard.
pub struct Customers {
    guard: Guard,
    // It reads the machine's certificates, which a server without remote sources lacks.
    client: OnceCell<reqwest::Client>,
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    owner: WorkspaceId,
    source: Source,
    opened: Opened,
    until: Instant,
}

impl Customers {
    pub fn new(guard: Guard) -> Arc<Self> {
        Arc::new(Self { guard, client: OnceCell::new(), kept: Mutex::default() })
    }

    pub const fn guard(&self) -> Guard {
        self.guard
    }

    /// A source that was opened a short while ago.
    pub fn kept(&self, owner: WorkspaceId, source: &Source) -> Option<Opened> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        kept.retain(|one| one.until > now);
        let one = kept.iter().find(|one| one.owner == owner && one.source == *source)?;
        Some(one.opened.clone())
    }

    /// Opens a source with its owner's keys and keeps it.
    pub async fn open(
        &self,
        owner: WorkspaceId,
        source: &Source,
        keys: Option<&KeyPair>,
    ) -> Result<Opened, Error> {
        let opened = match source {
            Source::Cloud { bucket, .. } => {
                Opened::Cloud { bucket: self.bucket(bucket, keys).await? }
            }
            Source::Url { url, username, .. } => {
                Opened::Web { file: self.web(url, username.as_deref(), keys).await? }
            }
            Source::File(_) | Source::Bypass => return Ok(Opened::Ours),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.remove(0);
        }
        kept.push(Kept {
            owner,
            source: source.clone(),
            opened: opened.clone(),
            until: Instant::now() + KEPT,
        });
        Ok(opened)
    }

    /// Opens a URL with its owner's password.
    pub async fn web(
        &self,
        url: &str,
        username: Option<&str>,
        keys: Option<&KeyPair>,
    ) -> Result<WebFile, Error> {
        WebFile::new(self.client().await?, self.guard, url, basic(username, keys))
    }

    /// Opens a bucket with its owner's keys.
    pub async fn bucket(
        &self,
        cloud: &Cloud,
        keys: Option<&KeyPair>,
    ) -> Result<CloudBucket, Error> {
        CloudBucket::open(cloud, keys, self.guard, self.client().await?)
    }

    async fn client(&self) -> Result<reqwest::Client, Error> {
        let client = self.client.get_or_try_init(async || self.guard.client()).await;
        Ok(client.map_err(std::io::Error::other)?.clone())
    }
}

/// The user's name may stand in the source or in the secret.
fn basic(username: Option<&str>, keys: Option<&KeyPair>) -> Option<(String, String)> {
    match (username, keys) {
        (None, None) => None,
        (Some(name), None) => Some((name.to_owned(), String::new())),
        (name, Some(keys)) => {
            let name = name.unwrap_or(&keys.access_key);
            Some((name.to_owned(), keys.secret_key.clone()))
        }
    }
}
