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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::{
        RUN, S3Server, WebServer, answer, customer, folder, noise, reader, stream, text, url_source,
    };
    use crate::secrets::KeyPair;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn an_s3_object_is_looked_at_read_and_linked() {
        let server = S3Server::start().await;
        let bytes = noise(300_000);
        server.write("in/a b+é.bin", &bytes);
        let (_folder, ours) = folder().await;
        let source = Source::S3(server.place("/in/a b+é.bin"));
        let reader = reader(&ours, &source, Some(&S3Server::keys())).await;

        let object = reader.resolve(RUN, &source).await.unwrap().remove(0);

        assert_eq!((object.name.as_str(), object.size), ("a b+é.bin", 300_000));
        for (from, to) in [(0, 300_000), (0, 1), (299_999, 300_000), (7, 7)] {
            let read = reader.read(&object, from as u64..to as u64).await.unwrap();
            assert!(text(read).await.unwrap() == bytes[from..to]);
        }
        assert!(reader.read(&object, 0..300_001).await.is_err());
        let link = reader.direct(&object.place, HOUR).await.unwrap().unwrap();
        let client = super::super::address::own_client().unwrap();
        let answer = client.get(&link).header("range", "bytes=5-9").send().await.unwrap();
        assert_eq!(answer.status(), 206);
        assert_eq!(answer.bytes().await.unwrap()[..], bytes[5..10]);
        let answer = client.get(link.replace("X-Amz-Expires=3600", "X-Amz-Expires=9999"));
        assert_eq!(answer.send().await.unwrap().status(), 403);
    }

    #[tokio::test]
    async fn a_changed_s3_object_is_noticed() {
        let server = S3Server::start().await;
        server.write("a", b"hello");
        let (_folder, ours) = folder().await;
        let source = Source::S3(server.place("a"));
        let reader = reader(&ours, &source, Some(&S3Server::keys())).await;
        let object = reader.resolve(RUN, &source).await.unwrap().remove(0);

        server.write("a", b"hello, world");

        assert!(customer(reader.read(&object, 0..5).await).contains("has changed"));
    }

    #[tokio::test]
    async fn an_s3_source_that_cannot_be_read_names_the_field() {
        let server = S3Server::start().await;
        server.write("a", b"hello");
        let (_folder, ours) = folder().await;
        let wrong = KeyPair { secret_key: "hidden".into(), ..S3Server::keys() };
        for (place, keys, field) in [
            (server.place("b"), Some(S3Server::keys()), "path: there is no object \"b\""),
            (server.place("a//b"), Some(S3Server::keys()), "path: "),
            (server.place("../x"), Some(S3Server::keys()), "path: "),
            (server.place(""), Some(S3Server::keys()), "path: "),
            (server.place("a"), Some(wrong), "secret: the bucket \"main\""),
            (server.place("a"), None, "secret: the bucket \"main\""),
        ] {
            let source = Source::S3(place);
            let reader = reader(&ours, &source, keys.as_ref()).await;

            let text = customer(reader.resolve(RUN, &source).await);

            assert!(text.starts_with(field), "{text}");
            assert!(!text.contains("hidden"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_url_with_ranges_is_not_copied() {
        let server = WebServer::with_ranges(b"hello".to_vec()).await;
        let (_folder, ours) = folder().await;
        let source = url_source(format!("{}/dir/my%20file.txt?x=1", server.url));
        let reader = reader(&ours, &source, None).await;

        let object = reader.resolve(RUN, &source).await.unwrap().remove(0);

        assert_eq!((object.name.as_str(), object.size), ("my file.txt", 5));
        assert!(matches!(object.place, Place::Source { .. }));
        assert_eq!(text(reader.read(&object, 1..3).await.unwrap()).await.unwrap(), b"el");
        assert_eq!(reader.direct(&object.place, HOUR).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_url_without_ranges_is_copied_once() {
        let sized = |_: &str| answer("200 OK", &[], &noise(200_000));
        let unsized_ = |_: &str| {
            [&b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"[..], &noise(200_000)].concat()
        };
        for server in [WebServer::start(sized).await, WebServer::start(unsized_).await] {
            let (_folder, ours) = folder().await;
            let source = url_source(server.url.clone());
            let reader = reader(&ours, &source, None).await;

            let object = reader.resolve(RUN, &source).await.unwrap().remove(0);

            let key = BlobKey::Staged { run: RUN, n: 0 }.path();
            assert_eq!((object.size, &object.place), (200_000, &Place::Bucket { key }));
            let read = text(reader.read(&object, 0..200_000).await.unwrap()).await.unwrap();
            assert!(read == noise(200_000));
            assert_eq!(server.seen.lock().unwrap().len(), 1);
        }
    }

    #[tokio::test]
    async fn a_copy_that_breaks_off_leaves_nothing() {
        let server =
            WebServer::start(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello".to_vec())
                .await;
        let (_folder, ours) = folder().await;
        let source = url_source(server.url.clone());
        let reader = reader(&ours, &source, None).await;

        assert!(matches!(reader.resolve(RUN, &source).await, Err(Error::Io(_))));
        assert_eq!(ours.size(&BlobKey::Staged { run: RUN, n: 0 }).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_uploaded_file_is_read_from_our_bucket() {
        let (_folder, ours) = folder().await;
        let key = BlobKey::Upload(common::ids::JobId::new(uuid::Uuid::from_u128(1)));
        let source = Source::File { key: key.path(), name: "../in.txt".into(), size: 5 };
        let reader = reader(&ours, &source, None).await;
        assert!(customer(reader.resolve(RUN, &source).await).contains("not been uploaded"));

        ours.put(&key, Expected::Nothing, stream(b"hello", 2)).await.unwrap();

        let object = reader.resolve(RUN, &source).await.unwrap().remove(0);
        assert_eq!((object.name.as_str(), object.size), (".._in.txt", 5));
        assert_eq!(text(reader.read(&object, 0..5).await.unwrap()).await.unwrap(), b"hello");
        assert_eq!(reader.direct(&object.place, HOUR).await.unwrap(), None);
        let forged = Source::File { key: "../../etc/passwd".into(), name: "x".into(), size: 1 };
        assert!(customer(reader.resolve(RUN, &forged).await).contains("not been uploaded"));
    }

    #[tokio::test]
    async fn no_source_is_one_empty_object() {
        let (_folder, ours) = folder().await;
        let reader = reader(&ours, &Source::Bypass, None).await;

        let object = reader.resolve(RUN, &Source::Bypass).await.unwrap().remove(0);

        let expected = Object { name: "bypass".into(), size: 0, place: Place::Empty };
        assert_eq!(object, expected);
        assert!(text(reader.read(&object, 0..0).await.unwrap()).await.unwrap().is_empty());
        assert_eq!(reader.direct(&object.place, HOUR).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_copy_has_a_limit() {
        let read = text(at_most(5, stream(b"hello", 2))).await;
        assert_eq!(read.unwrap(), b"hello");

        assert!(customer(text(at_most(4, stream(b"hello", 2))).await).contains("longer than"));
    }
}
