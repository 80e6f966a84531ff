//! Copying final files to the customer's bucket.

use futures::{StreamExt as _, TryStreamExt as _};

use super::bucket::Bucket;
use super::s3::CustomerBucket;
use super::upload::{self, Expected};
use super::{Error, ResultFile, Stored, assemble, names};

/// Writes a file under the destination's folder. An object of the same name is replaced, so doing
/// it twice gives the same.
pub async fn deliver(
    ours: &Bucket,
    destination: &CustomerBucket,
    folder: &str,
    file: &ResultFile,
) -> Result<(), Error> {
    let key = [folder.trim_matches('/'), &names::safe(&file.name)].join("/");
    let key = key.trim_start_matches('/');
    let path = destination.path(key)?;
    let expected = match file.digest {
        Some(digest) => Expected::Stored(Stored { size: file.size, digest }),
        None => Expected::Size(file.size),
    };
    // A failure of our own bucket must not be taken for one of the customer's.
    let bytes = assemble::open(ours, file).await?.map_err(|error| match error {
        Error::Store(error) => Error::Io(std::io::Error::other(error)),
        error @ (Error::Customer(_) | Error::NotFound(_) | Error::Mismatch | Error::Io(_)) => error,
    });
    match upload::put(&destination.store, &path, expected, bytes.boxed()).await {
        Ok(_) => Ok(()),
        Err(Error::Store(error)) => Err(destination.explain_write(error, key)),
        Err(error) => Err(error),
    }
}
