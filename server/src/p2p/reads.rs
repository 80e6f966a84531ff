//! What a lease may read, and where it is.

use std::collections::HashSet;

use common::chunks::{Object, Place};
use common::digest::Digest;
use common::protocol::{BlobReply, InputFile, NAME_BYTES_MAX};
use common::spec::{Container, Image};
use common::task::Lease;

use super::port::Port;
use super::receipts::is_flat;
use super::refusal::Refusal;
use super::text;
use crate::coordinator::leases::{LiveInputs, LiveLease};
use crate::data::ByteStream;
use crate::data::key::BlobKey;

/// Bytes for a node.
pub enum Found {
    /// The reply says it all: as a rule where the node reads them itself.
    Said(BlobReply),
    /// The server passes them on.
    Here { bytes: u64, digest: Option<Digest>, stream: ByteStream },
}

/// The package of a lease.
pub async fn package<P: Port>(
    port: &P,
    live: &LiveLease,
    lease: Lease,
    from: u64,
) -> Result<Found, Refusal> {
    let digest = container(live, lease)?.package.digest;
    stored(port, live, BlobKey::Package(digest), digest, from).await
}

/// The image of a lease, where it is one of ours.
pub async fn image<P: Port>(
    port: &P,
    live: &LiveLease,
    lease: Lease,
    from: u64,
) -> Result<Found, Refusal> {
    match &container(live, lease)?.image {
        Image::Stored { digest, .. } => {
            stored(port, live, BlobKey::Image(*digest), *digest, from).await
        }
        Image::Registry { .. } | Image::Private { .. } | Image::Binary => {
            Err(Refusal::never("the lease has no image in the server's bucket"))
        }
    }
}

/// The container that a lease's task runs in.
pub fn container(live: &LiveLease, lease: Lease) -> Result<&Container, Refusal> {
    let container = live.spec.container(lease.task.stage);
    container.ok_or_else(|| Refusal::never("the lease's stage has no container"))
}

/// An object of our bucket whose digest is known but not its size.
async fn stored<P: Port>(
    port: &P,
    live: &LiveLease,
    key: BlobKey,
    digest: Digest,
    from: u64,
) -> Result<Found, Refusal> {
    let size = port.size(&key).await?;
    let size = size.ok_or_else(|| Refusal::never("the object is no longer there"))?;
    result(port, live, key, size, digest, from).await
}

/// An object of our bucket.
pub async fn result<P: Port>(
    port: &P,
    live: &LiveLease,
    key: BlobKey,
    size: u64,
    digest: Digest,
    from: u64,
) -> Result<Found, Refusal> {
    if from > size {
        return Err(beyond_the_end());
    }
    if from == size {
        return Ok(nothing(Some(digest)));
    }
    if let Some(url) = port.direct(&live.spec, &Place::Bucket { key: key.path() }).await? {
        let digest = Some(digest);
        return Ok(Found::Said(BlobReply::Redirect { url, from, to: size, digest, etag: None }));
    }
    let stream = port.get(&key, from..size).await?;
    Ok(Found::Here { bytes: size - from, digest: Some(digest), stream })
}

/// The one chunk of a process task, or object `n` of a partitioner's source.
pub async fn source<P: Port>(
    port: &P,
    live: &LiveLease,
    n: u32,
    from: u64,
) -> Result<Found, Refusal> {
    let (object, start, end) = match &live.inputs {
        LiveInputs::Chunk { table, index } if n == 0 => {
            table.get(*index).map(|chunk| (chunk.object, chunk.from, chunk.to))
        }
        LiveInputs::Source { table } => {
            table.objects().get(n as usize).map(|object| (object, 0, object.size))
        }
        LiveInputs::Chunk { .. } | LiveInputs::Results { .. } => None,
    }
    .ok_or_else(|| Refusal::never("there is no such input"))?;
    let begin = start.checked_add(from).filter(|begin| *begin <= end).ok_or_else(beyond_the_end)?;
    if begin == end {
        return Ok(nothing(None));
    }
    if let Some(url) = port.direct(&live.spec, &object.place).await? {
        let redirect = BlobReply::Redirect { url, from: begin, to: end, digest: None, etag: None };
        return Ok(Found::Said(redirect));
    }
    let stream = port.read(&live.spec, object, begin..end).await?;
    Ok(Found::Here { bytes: end - begin, digest: None, stream })
}

fn nothing(digest: Option<Digest>) -> Found {
    Found::Here { bytes: 0, digest, stream: Box::pin(futures::stream::empty()) }
}

fn beyond_the_end() -> Refusal {
    Refusal::never("the offset is beyond the end")
}

/// The objects of a source as files of one folder: names flat and unique.
pub fn source_files(objects: &[Object]) -> Vec<InputFile> {
    let mut names = HashSet::with_capacity(objects.len());
    objects
        .iter()
        .enumerate()
        .map(|(n, object)| {
            let flat = flat(&object.name);
            let numbered = || format!("{n:07}_{}", text::tidy(&flat, NAME_BYTES_MAX - 24));
            let name = [flat.clone(), numbered(), format!("{n:07}")]
                .into_iter()
                .find(|name| !names.contains(name))
                .unwrap_or_else(|| format!("{n:07}_{}", names.len()));
            names.insert(name.clone());
            InputFile { name, size: object.size, digest: None }
        })
        .collect()
}

fn flat(name: &str) -> String {
    let name = text::tidy(&name.replace(['/', '\\'], "_"), NAME_BYTES_MAX);
    if is_flat(&name) { name } else { "data".to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(name: &str) -> Object {
        Object { name: name.to_owned(), size: 1, place: Place::Empty }
    }

    fn names(objects: &[&str]) -> Vec<String> {
        let objects: Vec<_> = objects.iter().map(|name| object(name)).collect();
        source_files(&objects).into_iter().map(|file| file.name).collect()
    }

    #[test]
    fn the_files_of_a_source_have_flat_names() {
        assert_eq!(
            names(&["a.txt", "a.txt", "../b", "..", ""]),
            ["a.txt", "0000001_a.txt", ".._b", "data", "0000004_data"]
        );
    }

    proptest! {
        #[test]
        fn the_files_of_a_source_have_unique_names_that_a_folder_can_hold(
            given in prop::collection::vec("(0000001_)?[ab./\\\\\0ä]{0,3}|\\PC{200,260}", 0..40)
        ) {
            let given: Vec<_> = given.iter().map(String::as_str).collect();

            let names = names(&given);

            prop_assert!(names.iter().all(|name| is_flat(name)));
            prop_assert_eq!(names.iter().collect::<HashSet<_>>().len(), given.len());
        }
    }
}
