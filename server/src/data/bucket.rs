//! Fanfold's own bucket: a folder, or a bucket of an S3-compatible store.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::ids::RunId;
use futures::StreamExt as _;
use futures::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer as _};
use object_store::{GetOptions, ObjectStore, ObjectStoreExt as _};
use reqwest::Method;

use super::key::BlobKey;
use super::upload::{self, Expected};
use super::{ByteStream, Error, Stored, address, download, s3};

#[derive(Clone)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Folder(PathBuf),
    S3(Arc<AmazonS3>),
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
                let client = address::own_client().map_err(std::io::Error::other)?;
                let mut builder = AmazonS3Builder::new()
                    .with_bucket_name(bucket)
                    .with_region(region)
                    .with_access_key_id(access_key)
                    .with_secret_access_key(secret_key)
                    .with_allow_http(true)
                    .with_http_connector(s3::Connector(client));
                if let Some(endpoint) = endpoint {
                    builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
                }
                let store = Arc::new(builder.build()?);
                Ok(Self { store: store.clone(), kind: Kind::S3(store) })
            }
        }
    }

    /// Writes an object, whole or not at all.
    pub async fn put(
        &self,
        key: &BlobKey,
        expected: Expected,
        bytes: ByteStream,
    ) -> Result<Stored, Error> {
        upload::put(self.store.as_ref(), &path(key)?, expected, bytes).await
    }

    /// The size of an object, or `None` where there is none.
    pub async fn size(&self, key: &BlobKey) -> Result<Option<u64>, Error> {
        match self.store.head(&path(key)?).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The bytes of a range; it must lie within the object.
    pub async fn get(&self, key: &BlobKey, range: Range<u64>) -> Result<ByteStream, Error> {
        if range.is_empty() {
            let size = self.size(key).await?.ok_or_else(|| Error::NotFound(key.path()))?;
            return if range.end <= size { Ok(download::no_bytes()) } else { Err(Error::Mismatch) };
        }
        let options = GetOptions { range: Some(range.clone().into()), ..GetOptions::default() };
        let found = match self.store.get_opts(&path(key)?, options).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Err(Error::NotFound(key.path())),
            Err(error) => return Err(error.into()),
        };
        // A store cuts a range that goes beyond the end; nobody here asks for one on purpose.
        if found.range == range { download::stream(found).await } else { Err(Error::Mismatch) }
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
        let Kind::S3(store) = &self.kind else { return Ok(None) };
        let mut options = SignedUrlOptions::default();
        if let Some(name) = file_name {
            let disposition = super::links::disposition(name);
            options = options.with_query([("response-content-disposition", disposition)]);
        }
        let url = store.signed_url_opts(method, &path(key)?, lives, &options).await?;
        Ok(Some(url.into()))
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

fn path(key: &BlobKey) -> Result<Path, Error> {
    Ok(Path::parse(key.path()).map_err(object_store::Error::from)?)
}
