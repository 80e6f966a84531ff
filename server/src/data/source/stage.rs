//! Copying a URL's file into Fanfold's bucket, where it cannot be read in parts.

use common::data::object_list::{Object, Objects, Place};
use common::ids::RunId;
use futures::{StreamExt as _, TryStreamExt as _};

use super::{Opened, Reader, alone};
use crate::data::bucket::blob_key::BlobKey;
use crate::data::bucket::sums;
use crate::data::bucket::upload::Expected;
use crate::data::source::http::{Probe, WebFile, Whole};
use crate::data::{ByteStream, Error, Stored, file_name};

/// Longest file that is copied: bounds an endless answer.
const STAGED_BYTES_MAX: u64 = 128 << 30;

impl Reader {
    /// Copies a source that cannot be read in parts into Fanfold's bucket; `count` counts its bytes
    /// against the workspace's quota.
    pub async fn stage(
        &self,
        run: RunId,
        count: impl FnOnce(ByteStream) -> ByteStream,
    ) -> Result<Objects, Error> {
        let Opened::Web { file } = &self.source else {
            return Err(Error::NotFound("source to copy".to_owned()));
        };
        let name = file_name::of_url(file.url().path());
        let object = match self.pace.answer(file.probe()).await?? {
            // It has changed its ways since it was looked at.
            Probe::Ranges { size, version } => {
                let place = Place::Source { path: file.url().to_string() };
                Object { name, size, place, version }
            }
            Probe::Whole(Whole { size, end_is_told, bytes }) => {
                if size.is_some_and(|size| size > STAGED_BYTES_MAX) {
                    return Err(too_large());
                }
                let key = BlobKey::Staged { run, n: 0 };
                let expected = size.map_or(Expected::Nothing, Expected::Size);
                let bytes = count(at_most(STAGED_BYTES_MAX, self.pace.stream(bytes)));
                let stored = self.ours.put(&key, expected, bytes).await?;
                if !end_is_told {
                    self.is_as_long_again(file, stored.size).await?;
                }
                let version = self.pin(&key, stored, &name, run).await?;
                let place = Place::Bucket { key: key.path() };
                Object { name, size: stored.size, place, version: Some(version) }
            }
        };
        alone(&object)
    }

    /// The version of a file in Fanfold's bucket that was just written.
    async fn pin(
        &self,
        key: &BlobKey,
        stored: Stored,
        name: &str,
        run: RunId,
    ) -> Result<String, Error> {
        if self.ours.is_folder() {
            return sums::make(&self.ours, key, stored, name, run).await;
        }
        // A store of others keeps its objects right by itself, and nodes ask it by this.
        let stat = self.ours.stat(key).await?;
        let etag = stat.filter(|stat| stat.size == stored.size).and_then(|stat| stat.version);
        etag.ok_or_else(|| Error::Damaged(name.to_owned()))
    }

    /// Reads a file once more whose end is nowhere told: an answer that broke off looks like one
    /// that is complete, but rarely breaks off twice at the same place.
    async fn is_as_long_again(&self, file: &WebFile, first: u64) -> Result<(), Error> {
        let again = match self.pace.answer(file.probe()).await?? {
            Probe::Ranges { size, .. } => size,
            Probe::Whole(Whole { size: Some(size), .. }) => size,
            Probe::Whole(Whole { size: None, bytes, .. }) => {
                let mut bytes = at_most(STAGED_BYTES_MAX, self.pace.stream(bytes));
                let mut size = 0;
                while let Some(piece) = bytes.try_next().await? {
                    size += piece.len() as u64;
                }
                size
            }
        };
        if again == first { Ok(()) } else { Err(file.of_two_lengths(first, again)) }
    }
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
        "url: this file can be read only as a whole, because its server gives no ranges or does \
         not say which version they are of, and it is longer than {} GiB; use a bucket, or a \
         server that gives ranges with an ETag",
        STAGED_BYTES_MAX >> 30
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::data::testing::{
        RUN, WebServer, answer, customer, folder, noise, range, reader, resolve, stream, text,
        url_source,
    };

    #[tokio::test]
    async fn url_without_ranges_is_probed_and_copied_once() {
        let sized = |_: &str| answer("200 OK", &[], &noise(200_000));
        let unsized_ = |_: &str| {
            [&b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"[..], &noise(200_000)].concat()
        };
        // Where no end is told, the length of a second answer stands for it.
        for (server, requests) in
            [(WebServer::start(sized).await, 2), (WebServer::start(unsized_).await, 3)]
        {
            let (_folder, ours) = folder().await;
            let source = url_source(server.url.clone());
            let reader = reader(&ours, &source, None).await;

            let object = resolve(&reader, &source).await.unwrap().get(0).unwrap();

            let key = BlobKey::Staged { run: RUN, n: 0 }.path();
            assert_eq!((object.size, &object.place), (200_000, &Place::Bucket { key }));
            let read = text(reader.read(&object, 0..200_000).await.unwrap()).await.unwrap();
            assert!(read == noise(200_000));
            assert_eq!(server.seen.lock().unwrap().len(), requests);
        }
    }

    #[tokio::test]
    async fn copy_that_breaks_off_leaves_nothing() {
        let server =
            WebServer::start(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello".to_vec())
                .await;
        let (_folder, ours) = folder().await;
        let source = url_source(server.url.clone());
        let reader = reader(&ours, &source, None).await;

        assert!(matches!(resolve(&reader, &source).await, Err(Error::Elsewhere(_))));
        assert_eq!(ours.size(&BlobKey::Staged { run: RUN, n: 0 }).await.unwrap(), None);
    }

    #[tokio::test]
    async fn copy_has_a_size_limit() {
        let read = text(at_most(5, stream(b"hello", 2))).await;
        assert_eq!(read.unwrap(), b"hello");

        assert!(customer(text(at_most(4, stream(b"hello", 2))).await).contains("longer than"));
    }

    #[tokio::test]
    async fn file_of_two_lengths_with_unknown_end_is_refused() {
        let n = AtomicUsize::new(0);
        let server = WebServer::start(move |_| {
            // The answer that is copied breaks off.
            let len = if n.fetch_add(1, Ordering::Relaxed) == 1 { 100 } else { 200 };
            [&b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"[..], &noise(len)].concat()
        })
        .await;
        let (_folder, ours) = folder().await;
        let source = url_source(server.url.clone());
        let reader = reader(&ours, &source, None).await;

        let text = customer(resolve(&reader, &source).await);

        assert!(text.contains("gave 100 bytes of it once and 200 the next time"), "{text}");
    }

    #[tokio::test]
    async fn file_without_a_version_is_copied_once_and_never_mixed() {
        let n = AtomicUsize::new(0);
        let server = WebServer::start(move |head| {
            // Another content at each request.
            let body = format!("{:05}", n.fetch_add(1, Ordering::Relaxed));
            let Some((from, to)) = range(head) else {
                return answer("200 OK", &[], body.as_bytes());
            };
            let part = ("content-range", format!("bytes {from}-{to}/5"));
            answer("206 Partial Content", &[part], &body.as_bytes()[from..=to])
        })
        .await;
        let (_folder, ours) = folder().await;
        let source = url_source(server.url.clone());
        let reader = reader(&ours, &source, None).await;
        let object = resolve(&reader, &source).await.unwrap().get(0).unwrap();

        let mut halves = Vec::new();
        for part in [0..3, 3..5] {
            halves.extend(text(reader.read(&object, part).await.unwrap()).await.unwrap());
        }

        assert_eq!(halves, b"00003");
    }
}
