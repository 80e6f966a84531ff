//! Fanfold's own bucket: a folder, or a bucket of an S3-compatible store.

pub(super) mod attended;
pub mod blob_key;
pub mod caches;
pub(super) mod checked;
pub(super) mod download;
pub mod links;
pub(super) mod sums;
pub(super) mod upload;
pub mod upload_links;
pub mod verify;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::ids::{JobId, RunId};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer as _};
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt as _, RetryConfig};
use reqwest::Method;

use super::cloud::Connector;
use super::{ByteStream, Error, Stat, Stored, ssrf_guard};
use blob_key::BlobKey;
use upload::{Expected, Target};
use upload_links::LinkCheck;

/// A folder of the bucket in which nothing is kept.
const PROBED: &str = "readyz";
/// Callers hear of a bucket that is away within seconds. What can wait longer asks again.
const RETRIES_MAX: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(5);

/// Keys, and when they were written.
pub type Written = BoxStream<'static, Result<(String, DateTime<Utc>), Error>>;

#[derive(Clone)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Folder(PathBuf),
    S3(Arc<AmazonS3>, Arc<LinkCheck>),
}

impl Bucket {
    /// Opens the bucket; a folder is created.
    pub async fn open(options: &super::Bucket) -> Result<Self, Error> {
        match options {
            super::Bucket::Folder(folder) => {
                tokio::fs::create_dir_all(folder).await?;
                // What was acknowledged must survive a power cut: every write is synced.
                let store = LocalFileSystem::new_with_prefix(folder)?
                    .with_automatic_cleanup(true)
                    .with_fsync(true);
                Ok(Self { store: Arc::new(store), kind: Kind::Folder(folder.clone()) })
            }
            super::Bucket::S3 { bucket, region, endpoint, access_key, secret_key } => {
                let client = ssrf_guard::own_client().map_err(std::io::Error::other)?;
                let mut builder = AmazonS3Builder::new()
                    .with_bucket_name(bucket)
                    .with_region(region)
                    .with_access_key_id(access_key)
                    .with_secret_access_key(secret_key)
                    .with_allow_http(true)
                    .with_retry(RetryConfig {
                        max_retries: RETRIES_MAX,
                        retry_timeout: RETRY_TIMEOUT,
                        ..RetryConfig::default()
                    })
                    .with_http_connector(Connector(client.clone()));
                if let Some(endpoint) = endpoint {
                    builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
                }
                let store = Arc::new(builder.build()?);
                let check = Arc::new(LinkCheck::new(client, bucket.clone()));
                Ok(Self { store: store.clone(), kind: Kind::S3(store, check) })
            }
        }
    }

    /// Whether it is a folder of this machine, whose files nobody keeps right.
    pub const fn is_folder(&self) -> bool {
        matches!(self.kind, Kind::Folder(_))
    }

    /// Asks the store for something that is not there.
    ///
    /// # Errors
    /// `Store` where it does not answer, or does not let us in.
    pub async fn probe(&self) -> Result<(), Error> {
        probe(Arc::clone(&self.store)).await
    }

    /// Writes an object, whole or not at all.
    pub async fn put(
        &self,
        key: &BlobKey,
        expected: Expected,
        bytes: ByteStream,
    ) -> Result<Stored, Error> {
        let target = match &self.kind {
            Kind::Folder(_) => Target::Folder,
            Kind::S3(..) => Target::Cloud,
        };
        let path = path(key)?;
        self.attended(upload::put(self.store.as_ref(), target, &path, expected, bytes)).await
    }

    /// Does work that may take long, unless the store is away.
    async fn attended<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match self.kind {
            // What is wrong with a folder shows at once.
            Kind::Folder(_) => work.await,
            Kind::S3(..) => attended::attended(|| self.probe(), work).await,
        }
    }

    /// The size of an object, or `None` where there is none.
    pub async fn size(&self, key: &BlobKey) -> Result<Option<u64>, Error> {
        Ok(self.head(key).await?.map(|meta| meta.size))
    }

    /// The size and version of an object, or `None` where there is none.
    pub async fn stat(&self, key: &BlobKey) -> Result<Option<Stat>, Error> {
        let meta = self.head(key).await?;
        Ok(meta.map(|meta| Stat {
            size: meta.size,
            modified: meta.last_modified,
            version: meta.e_tag,
        }))
    }

    /// The bytes of a range; it must lie within the object.
    pub async fn get(&self, key: &BlobKey, range: Range<u64>) -> Result<ByteStream, Error> {
        self.get_version(key, range, None).await
    }

    /// The same of this very version.
    ///
    /// # Errors
    /// `Mismatch` where the object is another one by now.
    pub async fn get_version(
        &self,
        key: &BlobKey,
        range: Range<u64>,
        version: Option<&str>,
    ) -> Result<ByteStream, Error> {
        if range.is_empty() {
            let size = self.size(key).await?.ok_or_else(|| Error::NotFound(key.path()))?;
            return if range.end <= size { Ok(download::no_bytes()) } else { Err(Error::Mismatch) };
        }
        let options = GetOptions {
            range: Some(range.clone().into()),
            if_match: version.map(ToOwned::to_owned),
            ..GetOptions::default()
        };
        let path = path(key)?;
        let get = async {
            match self.store.get_opts(&path, options).await {
                Err(object_store::Error::Precondition { .. }) => Err(Error::Mismatch),
                found => unless_missing(found)?.ok_or_else(|| Error::NotFound(key.path())),
            }
        };
        let found = self.attended(get).await?;
        // Not every store heeds the condition.
        let same = version.is_none() || found.meta.e_tag.as_deref() == version;
        // A store cuts a range that goes beyond the end; nobody here asks for one on purpose.
        if !same || found.range != range {
            return Err(Error::Mismatch);
        }
        let bytes = download::stream(found);
        if matches!(self.kind, Kind::Folder(_)) {
            return Ok(bytes);
        }
        let store = Arc::clone(&self.store);
        Ok(attended::stream(move || probe(Arc::clone(&store)), bytes))
    }

    /// What lies under a folder, up to this many objects, by path below it.
    pub async fn list(
        &self,
        folder: &str,
        most: usize,
    ) -> Result<Vec<(String, ObjectMeta)>, Error> {
        let folder = Path::from(folder);
        let mut found = self.store.list(Some(&folder)).take(most);
        let mut objects = Vec::new();
        while let Some(meta) = self.attended(async { Ok(found.try_next().await?) }).await? {
            let below = meta.location.prefix_match(&folder).map(|parts| {
                parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/")
            });
            objects.extend(below.map(|below| (below, meta)));
        }
        Ok(objects)
    }

    /// All keys below a folder, in no order, with the time when each was written.
    pub fn objects(&self, folder: &str) -> Written {
        let found = self.store.list(Some(&Path::from(folder)));
        found
            .map_ok(|meta| (meta.location.to_string(), meta.last_modified))
            .map_err(Error::from)
            .boxed()
    }

    /// What the store says of an object, or `None` where there is none.
    pub async fn head(&self, key: &BlobKey) -> Result<Option<ObjectMeta>, Error> {
        let path = path(key)?;
        self.attended(async { unless_missing(self.store.head(&path).await) }).await
    }

    /// Removes an object; what is already gone is no error.
    pub async fn remove(&self, key: &BlobKey) -> Result<(), Error> {
        let path = path(key)?;
        let removed = async { unless_missing(self.store.delete(&path).await) };
        self.attended(removed).await.map(drop)
    }

    /// A link that the store itself serves, or `None` for a folder. `file_name` is what a browser
    /// saves the object as.
    pub async fn sign(
        &self,
        method: Method,
        key: &BlobKey,
        file_name: Option<&str>,
        lives: Duration,
    ) -> Result<Option<String>, Error> {
        let Kind::S3(store, _) = &self.kind else { return Ok(None) };
        let mut options = SignedUrlOptions::default();
        if let Some(name) = file_name {
            let disposition = links::disposition(name);
            options = options.with_query([("response-content-disposition", disposition)]);
        }
        let url = store.signed_url_opts(method, &path(key)?, lives, &options).await?;
        Ok(Some(url.into()))
    }

    /// Removes what was uploaded for a job; what is already gone is no error.
    pub async fn purge_upload(&self, job: JobId) -> Result<(), Error> {
        self.remove(&BlobKey::Upload(job)).await
    }

    /// Removes everything of a run; what is already gone is no error.
    pub async fn purge_run(&self, run: RunId) -> Result<(), Error> {
        let folder = BlobKey::run_folder(run);
        if let Kind::Folder(root) = &self.kind {
            // Takes the halves of uploads along that a kill left behind; a listing hides those.
            return match tokio::fs::remove_dir_all(root.join(folder)).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
                Ok(()) | Err(_) => Ok(()),
            };
        }
        let found = self.store.list(Some(&Path::from(folder)));
        let paths = found.map_ok(|meta| meta.location).boxed();
        let mut removed = self.store.delete_stream(paths);
        while let Some(removed) = removed.next().await {
            match removed {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// `None` for an object that is not there.
fn unless_missing<T>(found: object_store::Result<T>) -> Result<Option<T>, Error> {
    match found {
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        found => Ok(Some(found?)),
    }
}

async fn probe(store: Arc<dyn ObjectStore>) -> Result<(), Error> {
    let found = store.list(Some(&Path::from(PROBED))).next().await;
    found.transpose().map(drop).map_err(Error::from)
}

fn path(key: &BlobKey) -> Result<Path, Error> {
    Ok(Path::parse(key.path()).map_err(object_store::Error::from)?)
}

#[cfg(test)]
mod tests {
    use common::digest::Digest;

    use super::*;
    use crate::data::testing::{RUN, S3Server, folder, noise, stream, text};

    /// Above a part's size, so that an upload of unknown size takes several parts.
    const LARGE: usize = (16 << 20) + 12_345;

    fn key(n: u32) -> BlobKey {
        BlobKey::Staged { run: RUN, n }
    }

    /// What every bucket must do.
    async fn contract(bucket: &Bucket) {
        for (n, len) in [(0, 0), (1, 1), (2, 100_000), (3, LARGE)] {
            let bytes = noise(len);

            let stored = bucket.put(&key(n), Expected::Nothing, stream(&bytes, 70_000)).await;

            let expected = Stored { size: len as u64, digest: Digest::of(&bytes) };
            assert_eq!(stored.unwrap(), expected);
            assert_eq!(bucket.size(&key(n)).await.unwrap(), Some(len as u64));
            let read = bucket.get(&key(n), 0..len as u64).await.unwrap();
            assert!(text(read).await.unwrap() == bytes, "{len}");
            if len > 10 {
                let part = bucket.get(&key(n), 3..len as u64 - 4).await.unwrap();
                assert!(text(part).await.unwrap() == bytes[3..len - 4]);
            }
            assert!(bucket.get(&key(n), 0..len as u64 + 1).await.is_err(), "{len}");
        }
        assert_eq!(bucket.size(&key(99)).await.unwrap(), None);
        assert!(matches!(bucket.get(&key(99), 0..1).await, Err(Error::NotFound(_))));
        assert!(matches!(bucket.get(&key(99), 0..0).await, Err(Error::NotFound(_))));
    }

    async fn wrong_bytes_leave_the_old_object(bucket: &Bucket) {
        bucket.put(&key(51), Expected::Nothing, stream(b"old", 10)).await.unwrap();
        for len in [10, LARGE] {
            let bytes = noise(len);
            let right = Stored { size: len as u64, digest: Digest::of(&bytes) };
            let digest = Stored { digest: Digest::of(b"other"), ..right };
            let longer = Stored { size: right.size + 1, ..right };
            let shorter = Stored { size: right.size - 1, ..right };
            for expected in [digest, longer, shorter] {
                for n in [51, 52] {
                    let expected = Expected::Stored(expected);
                    let put = bucket.put(&key(n), expected, stream(&bytes, 1 << 20)).await;
                    assert!(matches!(put, Err(Error::Mismatch)), "{put:?}");
                }
            }
            // A stream that breaks is no object either.
            let broken = stream(&bytes, 1 << 20)
                .chain(futures::stream::once(async { Err(Error::NotFound("x".into())) }))
                .boxed();
            assert!(bucket.put(&key(51), Expected::Nothing, broken).await.is_err());
        }
        let old = bucket.get(&key(51), 0..3).await.unwrap();
        assert_eq!(text(old).await.unwrap(), b"old");
        assert_eq!(bucket.size(&key(52)).await.unwrap(), None);
        assert_eq!(bucket.size(&key(51)).await.unwrap(), Some(3));
    }

    async fn purge_takes_one_run(bucket: &Bucket) {
        let other = BlobKey::Staged { run: RunId::new(uuid::Uuid::from_u128(70)), n: 1 };
        for key in [&key(1), &key(2), &other] {
            bucket.put(key, Expected::Nothing, stream(b"x", 1)).await.unwrap();
        }

        bucket.purge_run(RUN).await.unwrap();
        bucket.purge_run(RUN).await.unwrap();

        assert_eq!(bucket.size(&key(1)).await.unwrap(), None);
        assert_eq!(bucket.size(&other).await.unwrap(), Some(1));
    }

    #[tokio::test]
    async fn folder_bucket_meets_the_contract() {
        let (_folder, bucket) = folder().await;

        contract(&bucket).await;
        wrong_bytes_leave_the_old_object(&bucket).await;
        purge_takes_one_run(&bucket).await;
    }

    #[tokio::test]
    async fn s3_bucket_meets_the_contract() {
        let server = S3Server::start().await;
        let bucket = server.bucket().await;

        contract(&bucket).await;
        wrong_bytes_leave_the_old_object(&bucket).await;
        purge_takes_one_run(&bucket).await;
    }

    #[tokio::test]
    async fn s3_bucket_signs_links_for_one_object_and_method() {
        let server = S3Server::start().await;
        let bucket = server.bucket().await;
        let client = ssrf_guard::own_client().unwrap();
        let lives = Duration::from_secs(60);

        let put = bucket.sign(Method::PUT, &key(1), None, lives).await.unwrap().unwrap();
        let get = bucket.sign(Method::GET, &key(1), Some("a b.txt"), lives).await;
        let get = get.unwrap().unwrap();

        let answer = client.put(&put).body("hello").send().await.unwrap();
        assert!(answer.status().is_success());
        let answer = client.get(&get).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "hello");
        let other = get.replace("/staged/1", "/staged/2");
        for (method, url) in [(Method::GET, &put), (Method::PUT, &get), (Method::GET, &other)] {
            let answer = client.request(method, url).body("evil").send().await.unwrap();
            assert_eq!(answer.status(), 403);
        }
    }

    #[tokio::test]
    async fn folder_bucket_signs_no_links() {
        let (_folder, bucket) = folder().await;

        let link = bucket.sign(Method::GET, &key(1), None, Duration::from_secs(60)).await.unwrap();

        assert_eq!(link, None);
    }
}
