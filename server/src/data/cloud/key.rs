//! Where an object is, by its very key. object_store drops slashes at both ends of a key when it
//! reads a text, so paths are put together here, part by part.

use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::path::{Path, PathPart};

use super::{Error, Store, customer};

/// An object's place: the store to ask, and the path to ask it for.
pub struct At {
    pub store: Arc<dyn Store>,
    pub path: Path,
}

/// Whose language the store speaks.
#[derive(Clone)]
pub enum Language {
    /// Opens the bucket again, for keys that begin with a slash.
    S3(Box<AmazonS3Builder>, String),
    Azure,
}

/// Why no request can be made for a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum NoRequest {
    #[error("it names no object")]
    Empty,
    #[error("it has . or .. as a folder, which every client takes out of a URL")]
    Dots,
    #[error("it has control characters")]
    Control,
    #[error("it begins with a slash, which is not possible with Azure")]
    Slash,
}

impl Language {
    /// Where the object of a key is in a store.
    ///
    /// # Errors
    /// `Customer`, which names the key, where no request can be made for it.
    pub fn at(&self, store: &Arc<dyn Store>, key: &str) -> Result<At, Error> {
        let path = self.path(key).map_err(|why| unusable(key, &why))?;
        let slashes = &key[..key.len() - key.trim_start_matches('/').len()];
        let store: Arc<dyn Store> = match self {
            Self::S3(builder, bucket) if !slashes.is_empty() => {
                // The slashes that a path cannot begin with end the bucket's address instead.
                let bucket = format!("{bucket}{slashes}");
                Arc::new(AmazonS3Builder::clone(builder).with_bucket_name(bucket).build()?)
            }
            Self::S3(..) | Self::Azure => store.clone(),
        };
        Ok(At { store, path })
    }

    /// Fails as [`Self::at`] does, and opens nothing.
    pub fn check(&self, key: &str) -> Result<(), Error> {
        self.path(key).map(drop).map_err(|why| unusable(key, &why))
    }

    fn path(&self, key: &str) -> Result<Path, NoRequest> {
        let plain = key.trim_start_matches('/');
        if plain.is_empty() {
            return Err(NoRequest::Empty);
        }
        let mut path = Path::ROOT;
        for part in plain.split('/') {
            let dots = matches!(part, "." | "..");
            let why = if dots { NoRequest::Dots } else { NoRequest::Control };
            path = path.join(PathPart::parse(part).map_err(|_| why)?);
        }
        match self {
            Self::S3(..) => Ok(path),
            Self::Azure if key.starts_with('/') => Err(NoRequest::Slash),
            // The last empty part of a path is lost there.
            Self::Azure if key.ends_with('/') => Ok(path.join(PathPart::default())),
            Self::Azure => Ok(path),
        }
    }
}

fn unusable(key: &str, why: &NoRequest) -> Error {
    customer(format!("path: the key {key:?} cannot be used: {why}"))
}
