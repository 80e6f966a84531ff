//! What a lease may read, and where it is.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use common::data::object_list::{Object, Objects, Place};
use common::digest::Digest;
use common::plan::{Container, Image};
use common::protocol::{BlobReply, InputFile, NAME_BYTES_MAX};

use crate::coordinator::leases::{LiveInputs, LiveLease};
use crate::data::bucket::blob_key::BlobKey;
use crate::data::{ByteStream, Direct};
use crate::p2p::backend::Port;
use crate::p2p::refusal::Refusal;
use crate::p2p::sync::receipts::is_flat;
use crate::p2p::sync::sanitize;

/// The most bytes of an object's name in a message.
const SHOWN_BYTES_MAX: usize = 1024;

/// Bytes for a node.
pub enum Found {
    /// The reply says it all: as a rule where the node reads them itself.
    Said(BlobReply),
    /// The server passes them on.
    Here { bytes: u64, digest: Option<Digest>, stream: ByteStream },
}

/// The package of a lease.
pub async fn package<P: Port>(port: &P, live: &LiveLease, from: u64) -> Result<Found, Refusal> {
    let code = container(live)?.package();
    let digest = code.ok_or_else(|| Refusal::never("the lease has no package"))?.package.digest;
    stored(port, live, BlobKey::Package(digest), digest, from).await
}

/// Image `n` of a lease, where it is one of ours.
pub async fn image<P: Port>(
    port: &P,
    live: &LiveLease,
    n: u8,
    from: u64,
) -> Result<Found, Refusal> {
    match nth_image(live, n)? {
        Image::Stored { digest, .. } => {
            stored(port, live, BlobKey::Image(*digest), *digest, from).await
        }
        Image::Registry { .. } | Image::Local { .. } | Image::Binary => {
            Err(Refusal::never("the lease has no image in the server's bucket"))
        }
    }
}

/// Image `n` of a lease.
pub fn nth_image(live: &LiveLease, n: u8) -> Result<&Image, Refusal> {
    let image = container(live)?.images().get(usize::from(n));
    image.ok_or_else(|| Refusal::never("the lease has no such image"))
}

/// The container that a lease's task runs in.
pub fn container(live: &LiveLease) -> Result<&Container, Refusal> {
    live.container().ok_or_else(|| Refusal::never("the lease's stage has no container"))
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
    let place = Place::Bucket { key: key.path() };
    let object = Object { name: String::new(), size, place, version: None };
    if let Some(Direct { url, version }) = port.direct(live, &object).await? {
        let (digest, to) = (Some(digest), size);
        let object = None;
        let redirect = BlobReply::Redirect { url, from, to, digest, version, object };
        return Ok(Found::Said(redirect));
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
    let (start, end, object) = match &live.inputs {
        LiveInputs::Chunk { table, index } if n == 0 => {
            table.get(*index).map(|chunk| (chunk.from, chunk.to, chunk.object))
        }
        LiveInputs::Source { table } => {
            table.objects().get(n).map(|object| (0, object.size, object))
        }
        LiveInputs::Chunk { .. } | LiveInputs::Results { .. } | LiveInputs::None => None,
    }
    .ok_or_else(|| Refusal::never("there is no such input"))?;
    let begin = start.checked_add(from).filter(|begin| *begin <= end).ok_or_else(beyond_the_end)?;
    if begin == end {
        return Ok(nothing(None));
    }
    // What a container has cut is a result, whose key has its digest.
    if let Place::Bucket { key } = &object.place
        && let Some(key @ BlobKey::Result { digest, .. }) = BlobKey::from_path(key)
        && (start, end) == (0, object.size)
    {
        return result(port, live, key, object.size, digest, from).await;
    }
    if let Some(Direct { url, version }) = port.direct(live, &object).await? {
        let is_customers = matches!(object.place, Place::Source { .. });
        let name = is_customers.then(|| sanitize::tidy(object.shown(), SHOWN_BYTES_MAX));
        let redirect =
            BlobReply::Redirect { url, from: begin, to: end, digest: None, version, object: name };
        return Ok(Found::Said(redirect));
    }
    let stream = port.read(live, &object, begin..end).await?;
    Ok(Found::Here { bytes: end - begin, digest: None, stream })
}

fn nothing(digest: Option<Digest>) -> Found {
    Found::Here { bytes: 0, digest, stream: Box::pin(futures::stream::empty()) }
}

fn beyond_the_end() -> Refusal {
    Refusal::never("the offset is beyond the end")
}

/// The objects of a source as files of one folder: under their own names where these are all
/// different, else each with its number in front, so that they sort as their paths do.
pub fn source_files(objects: &Objects) -> impl Iterator<Item = InputFile> {
    let mut seen = HashSet::new();
    // Two names of one hash are as good as the same: both then have numbers.
    let hash = |object: Object| {
        let mut hasher = DefaultHasher::new();
        flat(&object.name).hash(&mut hasher);
        hasher.finish()
    };
    let plain = objects.iter().all(|object| seen.insert(hash(object)));
    objects.iter().enumerate().map(move |(n, object)| {
        let name = flat(&object.name);
        let name = match plain {
            true => name,
            false => format!("{n:07}_{}", sanitize::tidy(&name, NAME_BYTES_MAX - 24)),
        };
        InputFile { name, size: object.size, digest: None }
    })
}

fn flat(name: &str) -> String {
    let name = sanitize::tidy(&name.replace(['/', '\\'], "_"), NAME_BYTES_MAX);
    if is_flat(&name) { name } else { "data".to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(given: &[&str]) -> Vec<String> {
        let object = |name: &&str| Object {
            name: (*name).to_owned(),
            size: 1,
            place: Place::Empty,
            version: None,
        };
        let objects: Vec<_> = given.iter().map(object).collect();
        source_files(&Objects::pack(&objects).unwrap()).map(|file| file.name).collect()
    }

    #[test]
    fn source_files_keep_names_that_are_all_different() {
        assert_eq!(names(&["a.txt", "../b", "..", "b.txt"]), ["a.txt", ".._b", "data", "b.txt"]);
    }

    #[test]
    fn source_files_of_the_same_name_are_distinguished_by_their_numbers() {
        let names = names(&["b.txt", "a.txt", "b.txt", ""]);

        assert_eq!(names, ["0000000_b.txt", "0000001_a.txt", "0000002_b.txt", "0000003_data"]);
    }

    proptest! {
        #[test]
        fn source_files_have_unique_names_that_a_folder_can_hold(
            given in prop::collection::vec("(0000001_)?[ab./\\\\\0ä]{0,3}|\\PC{200,260}", 0..40)
        ) {
            let given: Vec<_> = given.iter().map(String::as_str).collect();

            let names = names(&given);

            prop_assert!(names.iter().all(|name| is_flat(name)));
            prop_assert_eq!(names.iter().collect::<HashSet<_>>().len(), given.len());
        }
    }
}
