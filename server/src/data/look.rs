//! Looking at a source before any job needs it: is it there, may it be read, what is in it?

use common::ids::WorkspaceId;
use common::package::descriptor::DataPlace;
use common::spec::S3;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};

use super::http::Probe;
use super::s3::CustomerBucket;
use super::{Data, Error, names};
use crate::secrets::KeyPair;

/// The most objects of a listing.
pub const LISTED_MAX: usize = 1_000;

/// What a source holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    pub name: String,
    pub path: String,
    /// Bytes; `None` for a folder, or where the server does not say.
    pub size: Option<u64>,
    /// The objects below a folder, or the one object; empty where no listing was asked for.
    pub files: Vec<Listed>,
    /// Whether there are more than could be listed.
    pub cut: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// From the bucket's root.
    pub path: String,
    pub size: u64,
}

impl Data {
    /// Looks at a source with these keys, or with its owner's secret where it names one. Nothing
    /// is kept open, and nothing is copied.
    ///
    /// # Errors
    /// `Customer` where it cannot be read.
    pub async fn look(
        &self,
        owner: WorkspaceId,
        place: &DataPlace,
        keys: Option<KeyPair>,
        list: bool,
    ) -> Result<Looked, Error> {
        let keys = match keys {
            Some(keys) => Some(keys),
            None => self.keys(owner, place.secret()).await?,
        };
        match place {
            DataPlace::S3(place) => {
                let bucket = self.customers.bucket(place, keys.as_ref()).await?;
                look_s3(&bucket, place, list).await
            }
            DataPlace::Url { url, username, .. } => {
                let file = self.customers.web(url, username.as_deref(), keys.as_ref()).await?;
                let size = match file.probe().await? {
                    Probe::Ranges { size } => Some(size),
                    Probe::Whole { size, .. } => size,
                };
                let (name, path) = (names::of_url(file.url().path()), file.url().path().to_owned());
                Ok(alone(name, path, size, list))
            }
            DataPlace::Bypass => Ok(alone("bypass".to_owned(), String::new(), Some(0), false)),
            DataPlace::File { .. } | DataPlace::Bucket => Err(Error::Customer(
                "dataSource: only aws, url and bypass can be tested: a file is uploaded for a job"
                    .to_owned(),
            )),
        }
    }
}

/// One object, or everything below a folder.
async fn look_s3(bucket: &CustomerBucket, place: &S3, list: bool) -> Result<Looked, Error> {
    let key = place.path.trim_start_matches('/');
    let folder = key.is_empty() || key.ends_with('/');
    if !folder {
        let head = bucket.store.head(&bucket.path(key)?).await;
        match head {
            Ok(meta) => {
                return Ok(alone(names::of_key(key), key.to_owned(), Some(meta.size), list));
            }
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(bucket.explain_read(error, key)),
        }
    }
    let prefix = Path::parse(key.trim_end_matches('/'))
        .map_err(|_| Error::Customer(format!("path: {key:?} is not a key that can be used")))?;
    let mut found = bucket.store.list(Some(&prefix).filter(|prefix| !prefix.is_root()));
    let (mut files, mut cut) = (Vec::new(), false);
    while let Some(meta) =
        found.try_next().await.map_err(|error| bucket.explain_read(error, key))?
    {
        if files.len() == LISTED_MAX {
            cut = true;
            break;
        }
        files.push(Listed { path: meta.location.to_string(), size: meta.size });
        if !list {
            break;
        }
    }
    if files.is_empty() && !key.is_empty() {
        return Err(Error::Customer(format!(
            "path: there is no object {key:?} in the bucket {:?}, and none below it",
            bucket.name
        )));
    }
    if !list {
        files.clear();
    }
    let name = key.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
    Ok(Looked { name, path: key.to_owned(), size: None, files, cut })
}

fn alone(name: String, path: String, size: Option<u64>, list: bool) -> Looked {
    let listed = Listed { path: path.clone(), size: size.unwrap_or(0) };
    let files = if list { vec![listed] } else { Vec::new() };
    Looked { name, path, size, files, cut: false }
}
