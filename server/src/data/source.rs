//! Where a run's objects are read: the customer's bucket or URL, or Fanfold's own bucket.

use std::ops::Range;
use std::time::Duration;

use common::chunks::{Object, Place};
use common::ids::RunId;
use common::spec::Source;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{GetOptions, ObjectStore as _, ObjectStoreExt as _};

use super::bucket::Bucket;
use super::http::{Probe, WebFile};
use super::key::BlobKey;
use super::s3::CustomerBucket;
use super::upload::Expected;
use super::{ByteStream, Error, download, names};

/// Longest file that is copied because its server gives no ranges: bounds an endless answer.
const STAGED_BYTES_MAX: u64 = 128 << 30;
/// The name of the one object of a source without data.
const BYPASS_NAME: &str = "bypass";

/// A run's source, opened with its owner's keys.
#[derive(Clone)]
pub enum Opened {
    S3 {
        bucket: CustomerBucket,
        key: String,
    },
    Web {
        file: WebFile,
    },
    /// Everything is in Fanfold's bucket, or nowhere.
    Ours,
}

/// A run's source beside Fanfold's bucket, which holds what was uploaded or staged.
#[derive(Clone)]
pub struct Reader {
    pub ours: Bucket,
    pub source: Opened,
}

impl Reader {
    /// Looks at the source: its objects and their sizes. One that cannot be read by ranges is
    /// copied into Fanfold's bucket.
    pub async fn resolve(&self, run: RunId, source: &Source) -> Result<Vec<Object>, Error> {
        let object = match (&self.source, source) {
            (Opened::S3 { bucket, key }, _) => {
                let head = bucket.store.head(&bucket.path(key)?).await;
                let meta = head.map_err(|error| bucket.explain_read(error, key))?;
                Object {
                    name: names::of_key(key),
                    size: meta.size,
                    place: Place::Source { path: key.clone() },
                }
            }
            (Opened::Web { file }, _) => self.resolve_web(run, file).await?,
            (Opened::Ours, Source::File { key, name, .. }) => {
                let gone = || {
                    Error::Customer(
                        "dataSource: the file has not been uploaded, or is no longer there; \
                         upload it again"
                            .to_owned(),
                    )
                };
                let blob = BlobKey::from_path(key).ok_or_else(gone)?;
                let size = self.ours.size(&blob).await?.ok_or_else(gone)?;
                let place = Place::Bucket { key: key.clone() };
                Object { name: names::safe(name), size, place }
            }
            (Opened::Ours, _) => {
                Object { name: BYPASS_NAME.to_owned(), size: 0, place: Place::Empty }
            }
        };
        Ok(vec![object])
    }

    async fn resolve_web(&self, run: RunId, file: &WebFile) -> Result<Object, Error> {
        let name = names::of_url(file.url().path());
        let (size, bytes) = match file.probe().await? {
            Probe::Ranges { size } => {
                let place = Place::Source { path: file.url().to_string() };
                return Ok(Object { name, size, place });
            }
            Probe::Whole { size, bytes } => (size, bytes),
        };
        if size.is_some_and(|size| size > STAGED_BYTES_MAX) {
            return Err(too_large());
        }
        let key = BlobKey::Staged { run, n: 0 };
        let expected = size.map_or(Expected::Nothing, Expected::Size);
        let stored = self.ours.put(&key, expected, at_most(STAGED_BYTES_MAX, bytes)).await?;
        Ok(Object { name, size: stored.size, place: Place::Bucket { key: key.path() } })
    }

    /// The bytes of a range of an object.
    ///
    /// # Errors
    /// `Customer` where the object is no longer the one that was looked at.
    pub async fn read(&self, object: &Object, range: Range<u64>) -> Result<ByteStream, Error> {
        if range.end > object.size || range.start > range.end {
            return Err(Error::Mismatch);
        }
        if range.is_empty() {
            return Ok(download::no_bytes());
        }
        match (&object.place, &self.source) {
            (Place::Empty, _) => Ok(download::no_bytes()),
            (Place::Bucket { key }, _) => {
                let blob =
                    BlobKey::from_path(key).ok_or_else(|| Error::NotFound(object.name.clone()))?;
                self.ours.get(&blob, range).await
            }
            (Place::Source { path }, Opened::S3 { bucket, .. }) => {
                read_s3(bucket, path, range, object.size).await
            }
            (Place::Source { .. }, Opened::Web { file }) => file.read(range, object.size).await,
            (Place::Source { .. }, Opened::Ours) => Err(Error::NotFound(object.name.clone())),
        }
    }

    /// A URL from which anybody can read the object for so long, or `None` where its bytes must
    /// be passed on.
    pub async fn direct(&self, place: &Place, lives: Duration) -> Result<Option<String>, Error> {
        match (place, &self.source) {
            (Place::Source { path }, Opened::S3 { bucket, .. }) => {
                Ok(Some(bucket.link(path, lives).await?))
            }
            (Place::Bucket { key }, _) => match BlobKey::from_path(key) {
                Some(blob) => self.ours.sign(reqwest::Method::GET, &blob, None, lives).await,
                None => Ok(None),
            },
            (Place::Source { .. } | Place::Empty, _) => Ok(None),
        }
    }
}

async fn read_s3(
    bucket: &CustomerBucket,
    key: &str,
    range: Range<u64>,
    size: u64,
) -> Result<ByteStream, Error> {
    let options = GetOptions { range: Some(range.clone().into()), ..GetOptions::default() };
    let found = bucket.store.get_opts(&bucket.path(key)?, options).await;
    let found = found.map_err(|error| bucket.explain_read(error, key))?;
    if found.meta.size != size || found.range != range {
        return Err(Error::Customer(format!(
            "path: the object {key:?} in the bucket {:?} has changed since the run started; run \
             the job again",
            bucket.name
        )));
    }
    download::stream(found).await
}

fn at_most(max: u64, bytes: ByteStream) -> ByteStream {
    let mut seen = 0;
    bytes
        .and_then(move |piece| {
            seen += piece.len() as u64;
            std::future::ready(if seen > max { Err(too_large()) } else { Ok(piece) })
        })
        .boxed()
}

fn too_large() -> Error {
    Error::Customer(format!(
        "url: the server gives this file only as a whole, and it is longer than {} GiB; use a \
         bucket or a server that gives ranges",
        STAGED_BYTES_MAX >> 30
    ))
}
