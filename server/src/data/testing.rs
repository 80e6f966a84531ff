//! What the tests of this folder run against: real buckets, a real S3 server that checks
//! signatures, and a web server that answers whatever a test wants.

pub mod azure;

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use common::data::location::{Cloud, Identity, Provider, Source, UploadedFile};
use common::data::object_list::Objects;
use common::digest::Digest;
use common::ids::{RunId, WorkspaceId};
use common::protocol::CHECKSUM_HEADER;
use common::run::task::{Lease, TaskRef};
use common::secret::SecretId;
use common::testing::PROCESS;
use futures::StreamExt as _;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::bucket::Bucket;
use super::bucket::blob_key::BlobKey;
use super::bucket::download;
use super::bucket::upload::Expected;
use super::pace::{Pace, Side};
use super::source::{Reader, Resolved};
use super::ssrf_guard::Guard;
use super::store_pool::Customers;
use super::{ByteStream, Error, ResultFile, Stat};
use crate::secrets::KeyPair;

pub const RUN: RunId = RunId::new(Uuid::from_u128(7));
pub const OWNER: WorkspaceId = WorkspaceId::new(Uuid::from_u128(8));

/// A stream of these bytes in pieces of `piece` bytes.
pub fn stream(bytes: &[u8], piece: usize) -> ByteStream {
    let pieces: Vec<_> =
        bytes.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    futures::stream::iter(pieces).boxed()
}

pub async fn text(bytes: ByteStream) -> Result<Vec<u8>, Error> {
    Ok(download::collect(bytes, u64::MAX).await?.to_vec())
}

/// The customer's text of a result that should be the customer's error.
pub fn customer<T>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Customer(text) | Error::At(_, text)) => text,
        Err(error) => panic!("not the customer's error: {error:?}"),
        Ok(_) => panic!("no error"),
    }
}

/// Bytes that look random and are the same every time.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = |()| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_n((), len).map(next).collect()
}

pub async fn folder() -> (TempDir, Bucket) {
    let folder = tempfile::tempdir().unwrap();
    let options = super::Bucket::Folder(folder.path().join("bucket"));
    (folder, Bucket::open(&options).await.unwrap())
}

/// Opens a source as a run does, with loopback allowed.
pub async fn reader(ours: &Bucket, source: &Source, keys: Option<&KeyPair>) -> Reader {
    let customers = Customers::new(Guard::new(true));
    let source = customers.open(OWNER, source, keys).await.unwrap();
    Reader { ours: ours.clone(), source, pace: pace() }
}

pub fn pace() -> Pace {
    Pace::new(Side::Source)
}

/// Resolves a source as a run does: what gives no ranges is staged.
pub async fn resolve(reader: &Reader, source: &Source) -> Result<Objects, Error> {
    match reader.resolve(RUN, source).await? {
        Resolved::Objects(objects) => Ok(objects),
        Resolved::ToStage => reader.stage(RUN, |bytes| bytes).await,
    }
}

pub fn url_source(url: String) -> Source {
    Source::Url { url, username: None, secret: None }
}

/// An uploaded file as a source, and the one object that it resolves to.
pub async fn uploaded(ours: &Bucket, bytes: &[u8]) -> (Reader, Objects) {
    let key = BlobKey::Staged { run: RUN, n: 9 };
    ours.put(&key, Expected::Nothing, stream(bytes, 100_000)).await.unwrap();
    let source = upload(ours, &key, "in.txt").await;
    let reader = reader(ours, &source, None).await;
    let objects = resolve(&reader, &source).await.unwrap();
    (reader, objects)
}

/// The source of an uploaded file as it is now.
pub async fn upload(ours: &Bucket, key: &BlobKey, name: &str) -> Source {
    let Stat { size, version, .. } = ours.stat(key).await.unwrap().unwrap();
    let identity = version.map(Identity::Etag);
    Source::File(UploadedFile { key: key.path(), name: name.into(), size, identity })
}

/// Stores a result file of chunk `index`.
pub async fn result(ours: &Bucket, index: u32, name: &str, bytes: &[u8]) -> ResultFile {
    let digest = Digest::of(bytes);
    let task = TaskRef { run: RUN, stage: PROCESS, index };
    let key = BlobKey::Result { lease: Lease { task, attempt: 1 }, digest };
    ours.put(&key, Expected::Nothing, stream(bytes, 1 << 16)).await.unwrap();
    ResultFile::new(name, bytes.len() as u64, Some(digest), key)
}

/// An S3 server on loopback with one bucket, `main`; it checks signatures.
pub struct S3Server {
    pub root: TempDir,
    pub endpoint: String,
}

impl S3Server {
    pub async fn start() -> Self {
        Self::start_with(Cares::All).await
    }

    /// The same that cares for less.
    pub async fn start_with(cares: Cares) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("main")).unwrap();
        let files = s3s_fs::FileSystem::new(root.path()).unwrap();
        let mut service = s3s::service::S3ServiceBuilder::new(files);
        let keys = Self::keys();
        service.set_auth(s3s::auth::SimpleAuth::from_single(keys.access_key, keys.secret_key));
        let service = service.build();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                let answer = hyper::service::service_fn(move |request| {
                    let service = service.clone();
                    async move {
                        match checked(request, cares).await {
                            Some(request) => service.call(request).await,
                            None => Ok(bad_digest()),
                        }
                    }
                });
                let serve = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), answer);
                tokio::spawn(serve);
            }
        });
        Self { root, endpoint }
    }

    pub fn keys() -> KeyPair {
        KeyPair { access_key: "AKFANFOLD".into(), secret_key: "very/secret+key".into() }
    }

    pub fn cloud(&self) -> Cloud {
        Cloud {
            provider: Provider::Aws { region: "us-east-1".into() },
            name: "main".into(),
            endpoint: Some(self.endpoint.clone()),
            secret: SecretId::named("its-id").ok(),
        }
    }

    pub fn source(&self, paths: &[&str]) -> Source {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        Source::Cloud { bucket: self.cloud(), paths }
    }

    pub fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.root.path().join("main").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.root.path().join("main").join(path)).ok()
    }

    pub async fn bucket(&self) -> Bucket {
        Bucket::open(&self.options()).await.unwrap()
    }

    pub fn options(&self) -> super::Bucket {
        Self::options_at(&self.endpoint)
    }

    /// The same of a server at this address.
    pub fn options_at(endpoint: &str) -> super::Bucket {
        let KeyPair { access_key, secret_key } = Self::keys();
        super::Bucket::S3 {
            bucket: "main".into(),
            region: "us-east-1".into(),
            endpoint: Some(endpoint.to_owned()),
            access_key,
            secret_key,
        }
    }
}

/// What an S3 server cares for before it stores what comes by a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cares {
    /// As s3s-fs: it checks digests when the bytes are stored, and obeys headers that are not signed.
    Nothing,
    Digests,
    /// As Amazon's.
    All,
}

/// A request that the server would take.
async fn checked(
    request: hyper::Request<hyper::body::Incoming>,
    cares: Cares,
) -> Option<hyper::Request<s3s::Body>> {
    let query = request.uri().query().unwrap_or_default();
    let signed = url::form_urlencoded::parse(query.as_bytes())
        .find_map(|(name, value)| (name == "X-Amz-SignedHeaders").then(|| value.into_owned()));
    let obeyed: Vec<_> = request.headers().keys().map(hyper::header::HeaderName::as_str).collect();
    let is_signed = |names: &str| {
        let obeyed = obeyed.iter().filter(|name| name.starts_with("x-amz-"));
        obeyed.copied().all(|name| names.split(';').any(|signed| signed == name))
    };
    if cares == Cares::All && !signed.is_none_or(|names| is_signed(&names)) {
        return None;
    }
    let sum = request.headers().get(CHECKSUM_HEADER).cloned().filter(|_| cares != Cares::Nothing);
    let is_copy = request.headers().contains_key("x-amz-copy-source");
    let Some(sum) = sum.filter(|_| !is_copy) else { return Some(request.map(s3s::Body::from)) };
    let (head, body) = request.into_parts();
    let bytes = s3s::Body::from(body).store_all_limited(1 << 30).await.ok()?;
    let is_right = BASE64_STANDARD.encode(Digest::of(&bytes).bytes()).as_bytes() == sum.as_bytes();
    is_right.then(|| hyper::Request::from_parts(head, s3s::Body::from(bytes)))
}

fn bad_digest() -> hyper::Response<s3s::Body> {
    let mut response = hyper::Response::new(s3s::Body::empty());
    *response.status_mut() = hyper::StatusCode::BAD_REQUEST;
    response
}

/// A web server on loopback that answers each request with the bytes that `answer` makes of its
/// head, and closes.
pub struct WebServer {
    pub url: String,
    /// The heads of all requests.
    pub seen: Arc<Mutex<Vec<String>>>,
}

impl WebServer {
    pub async fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start_with_bodies(move |head, _| answer(head)).await
    }

    /// The same where the answer depends on what was sent.
    pub async fn start_with_bodies(
        answer: impl Fn(&str, &[u8]) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let heads = seen.clone();
        tokio::spawn(async move {
            let answer = Arc::new(answer);
            while let Ok((mut socket, _)) = listener.accept().await {
                let (answer, heads) = (answer.clone(), heads.clone());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(socket.read_u8().await?);
                    }
                    let head = String::from_utf8(head).unwrap();
                    // An unread body would make the end of the connection a reset.
                    let length =
                        head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                    socket.read_exact(&mut body).await?;
                    let bytes = answer(&head, &body);
                    heads.lock().unwrap().push(head);
                    socket.write_all(&bytes).await?;
                    socket.shutdown().await
                });
            }
        });
        Self { url, seen }
    }

    /// A server of one file that gives ranges of it.
    pub async fn with_ranges(file: Vec<u8>) -> Self {
        Self::start(move |head| {
            let size = file.len();
            let dated = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned());
            match range(head) {
                Some((from, _)) if from >= size => answer(
                    "416 Range Not Satisfiable",
                    &[("content-range", format!("bytes */{size}"))],
                    b"",
                ),
                Some((from, to)) => {
                    let to = to.min(size - 1);
                    let header = ("content-range", format!("bytes {from}-{to}/{size}"));
                    answer("206 Partial Content", &[dated, header], &file[from..=to])
                }
                None => answer("200 OK", &[dated], &file),
            }
        })
        .await
    }
}

/// The first and last byte that a request's head asks for.
pub fn range(head: &str) -> Option<(usize, usize)> {
    let line = head.lines().find_map(|line| line.strip_prefix("range: bytes="))?;
    let (from, to) = line.split_once('-')?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

/// An answer of the web server.
pub fn answer(status: &str, headers: &[(&str, String)], body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status}\r\nconnection: close\r\n");
    for (name, value) in headers {
        out += &format!("{name}: {value}\r\n");
    }
    out += &format!("content-length: {}\r\n\r\n", body.len());
    let mut out = out.into_bytes();
    out.extend_from_slice(body);
    out
}
