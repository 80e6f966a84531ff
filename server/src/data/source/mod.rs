//! Where a run's objects are read: the customer's bucket or URL, or Fanfold's own bucket.

pub(super) mod http;
pub(super) mod listing;
pub(super) mod probe;
mod stage;

use std::ops::Range;
use std::time::Duration;

use common::data::location::{Identity, Source, UploadedFile};
use common::data::object_list::{OBJECTS_MAX, Object, Objects, Place};
use common::ids::RunId;
use common::protocol::Version;
use common::secret::DataEnd;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{GetOptions, ObjectStore as _};

use super::bucket::Bucket;
use super::bucket::blob_key::BlobKey;
use super::bucket::{download, sums};
use super::cloud::{At, CloudBucket};
use super::pace::Pace;
use super::{ByteStream, Direct, Error, Stat, Stored, file_name};
use http::{Probe, WebFile};
use listing::Limits;

/// How much of a bucket is looked through for a run's objects.
const LIMITS: Limits = Limits { objects: OBJECTS_MAX, pages: 20_000 };

/// A run's source, opened with its owner's keys.
#[derive(Clone)]
pub enum Opened {
    Cloud {
        bucket: CloudBucket,
    },
    Web {
        file: WebFile,
    },
    /// Everything is in Fanfold's bucket, or nowhere.
    Ours,
}

impl Opened {
    /// The server that is asked, where it is somebody else's.
    pub fn server(&self) -> Option<&str> {
        match self {
            Self::Cloud { bucket } => Some(&bucket.server),
            Self::Web { file } => file.url().host_str(),
            Self::Ours => None,
        }
    }
}

/// A run's source beside Fanfold's bucket, which holds what was uploaded or staged.
#[derive(Clone)]
pub struct Reader {
    pub ours: Bucket,
    pub source: Opened,
    /// Measures the customer's server.
    pub pace: Pace,
}

/// What a look at a source says.
#[derive(Debug, PartialEq)]
pub enum Resolved {
    Objects(Objects),
    /// It cannot be read in parts: it must be copied as a whole, which takes as long as its server
    /// likes.
    ToStage,
}

impl Reader {
    /// Looks at the source: its objects, their sizes and versions. An uploaded file whose digest is
    /// known is read through, before anything is made of it.
    ///
    /// # Errors
    /// `Damaged` where its bytes are no longer those that were uploaded.
    pub async fn resolve(&self, run: RunId, source: &Source) -> Result<Resolved, Error> {
        let object = match (&self.source, source) {
            (Opened::Cloud { bucket }, Source::Cloud { paths, .. }) => {
                let chosen = listing::choose(bucket, paths, LIMITS, &self.pace).await?;
                if chosen.more {
                    return Err(too_many());
                }
                return Ok(Resolved::Objects(chosen.objects));
            }
            (Opened::Web { file }, _) => match self.pace.answer(file.probe()).await?? {
                Probe::Ranges { size, version } => {
                    let place = Place::Source { path: file.url().to_string() };
                    Object { name: file_name::of_url(file.url().path()), size, place, version }
                }
                Probe::Whole(_) => return Ok(Resolved::ToStage),
            },
            (Opened::Ours, Source::File(UploadedFile { key, name, size, identity })) => {
                let blob = BlobKey::from_path(key).ok_or_else(|| upload_changed(name))?;
                let etag = match identity {
                    Some(Identity::Etag(etag)) => Some(etag),
                    // A bucket that was restored has other ETags for the same bytes.
                    Some(Identity::Digest(_)) | None => None,
                };
                let stat = self.ours.stat(&blob).await?;
                let same = |stat: Stat| {
                    stat.size == *size && (etag.is_none() || stat.version.as_ref() == etag)
                };
                if !stat.is_some_and(same) {
                    return Err(upload_changed(name));
                }
                let version = match identity {
                    Some(Identity::Digest(digest)) => {
                        let stored = Stored { size: *size, digest: *digest };
                        let made = sums::make(&self.ours, &blob, stored, name, run).await;
                        Some(made.map_err(|error| error.map_missing(|| upload_changed(name)))?)
                    }
                    Some(Identity::Etag(_)) | None => etag.cloned(),
                };
                let place = Place::Bucket { key: key.clone() };
                Object { name: file_name::safe(name), size: *size, place, version }
            }
            (Opened::Ours | Opened::Cloud { .. }, _) => Object::nothing(),
        };
        Ok(Resolved::Objects(alone(&object)?))
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
                if let Some(sums) = sums::of(object) {
                    return sums::read(&self.ours, &blob, &sums, object, range).await;
                }
                let version = object.version.as_deref();
                match self.ours.get_version(&blob, range, version).await {
                    Err(Error::NotFound(_) | Error::Mismatch) if version.is_some() => {
                        Err(upload_changed(&object.name))
                    }
                    read => read,
                }
            }
            (Place::Source { path }, Opened::Cloud { bucket }) => {
                let read = self.pace.answer(read_cloud(bucket, path, range, object)).await??;
                Ok(self.pace.stream(read))
            }
            (Place::Source { .. }, Opened::Web { file }) => {
                let read = self.pace.answer(file.read(range, object)).await??;
                Ok(self.pace.stream(read))
            }
            (Place::Source { .. }, Opened::Ours) => Err(Error::NotFound(object.name.clone())),
        }
    }

    /// A URL from which anybody can read the object for this long, or `None` where its bytes must
    /// be passed on.
    pub async fn direct(&self, object: &Object, lives: Duration) -> Result<Option<Direct>, Error> {
        let url = match (&object.place, &self.source) {
            (Place::Source { path }, Opened::Cloud { bucket }) => bucket.link(path, lives).await?,
            (Place::Bucket { key }, _) => match BlobKey::from_path(key) {
                Some(blob) => self.ours.sign(reqwest::Method::GET, &blob, None, lives).await?,
                None => None,
            },
            (Place::Source { .. } | Place::Empty, _) => None,
        };
        // Sums are no version that a store knows.
        let version = object.version.clone().filter(|_| sums::of(object).is_none());
        let version = version.map(|etag| Version { path: object.shown().to_owned(), etag });
        Ok(url.map(|url| Direct { url, version }))
    }
}

async fn read_cloud(
    bucket: &CloudBucket,
    key: &str,
    range: Range<u64>,
    object: &Object,
) -> Result<ByteStream, Error> {
    let options = GetOptions {
        range: Some(range.clone().into()),
        if_match: object.version.clone(),
        ..GetOptions::default()
    };
    let At { store, path } = bucket.at(key)?;
    let found = store.get_opts(&path, options).await;
    let found = found.map_err(|error| bucket.explain_read(&error, key))?;
    // Not every store heeds the condition.
    let same = object.version.is_none() || found.meta.e_tag == object.version;
    if !same || found.meta.size != object.size || found.range != range {
        return Err(bucket.changed(key));
    }
    let (bucket, key) = (bucket.clone(), key.to_owned());
    let bytes = download::stream(found).map_err(move |error| {
        let error = error.map_store(|error| bucket.explain_read(&error, &key));
        error.map_broken(|_| bucket.breaks_off(&key))
    });
    Ok(bytes.boxed())
}

fn alone(object: &Object) -> Result<Objects, Error> {
    let packed = Objects::pack(std::slice::from_ref(object));
    packed.map_err(|error| Error::At(DataEnd::Source, error.to_string()))
}

fn upload_changed(name: &str) -> Error {
    let what = format!(
        "the uploaded file {name:?} is no longer there, or is another one than was called complete; \
         upload it again"
    );
    Error::At(DataEnd::Source, what)
}

fn too_many() -> Error {
    Error::Customer(format!(
        "path: there are more than {OBJECTS_MAX} files, or too many others to look through for \
         them; give a narrower folder or pattern"
    ))
}

#[cfg(test)]
mod tests;
