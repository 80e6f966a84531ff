//! Reads the server's own bucket through, while the server does not run.

use common::digest::Digester;
use futures::{StreamExt as _, TryStreamExt as _};

use super::Bucket;
use super::blob_key::BlobKey;
use crate::data::{Error, Stored};

/// The folders whose objects have their digests in their names.
const NAMED_BY_DIGEST: [&str; 4] = ["packages", "images", "runs", "logs"];

/// The server's own bucket, to be read only.
pub struct Verifier(Bucket);

impl Verifier {
    pub async fn open(options: &crate::data::Bucket) -> Result<Self, Error> {
        Ok(Self(Bucket::open(options).await?))
    }

    /// The size of an object, or `None` where there is none.
    pub async fn size(&self, key: &BlobKey) -> Result<Option<u64>, Error> {
        self.0.size(key).await
    }

    /// The size and digest of an object's bytes; `None` where there is none.
    pub async fn read(&self, key: &BlobKey) -> Result<Option<Stored>, Error> {
        let Some(size) = self.0.size(key).await? else { return Ok(None) };
        let mut digester = Digester::default();
        let mut bytes = self.0.get(key, 0..size).await?;
        while let Some(piece) = bytes.try_next().await? {
            digester.update(&piece);
        }
        Ok(Some(Stored { size, digest: digester.finish() }))
    }

    /// The objects whose bytes do not have the digest that their name says.
    pub async fn misnamed(&self) -> Result<Vec<BlobKey>, Error> {
        let mut found = Vec::new();
        for folder in NAMED_BY_DIGEST {
            let mut objects = self.0.objects(folder).boxed();
            while let Some((path, _)) = objects.try_next().await? {
                let Some(key) = BlobKey::from_path(&path) else { continue };
                let Some(digest) = key.digest() else { continue };
                if self.read(&key).await?.is_some_and(|stored| stored.digest != digest) {
                    found.push(key);
                }
            }
        }
        Ok(found)
    }
}
