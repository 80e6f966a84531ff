//! A real S3 server on loopback that checks signatures, with a gate before its writes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::digest::Digest;
use common::protocol::CHECKSUM_HEADER;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub const ACCESS_KEY: &str = "AKFANFOLDTEST";
pub const SECRET_KEY: &str = "very/secret+key";
pub const BUCKET: &str = "main";
/// Far more than a test uploads at once.
const UPLOAD_BYTES_MAX: usize = 256 << 20;

pub struct S3 {
    root: TempDir,
    bucket: String,
    pub address: SocketAddr,
    pub endpoint: String,
    gate: watch::Sender<bool>,
    writes: Arc<AtomicUsize>,
    signed_reads: Arc<AtomicUsize>,
    signed_writes: Arc<AtomicUsize>,
    archived: Arc<AtomicBool>,
}

impl S3 {
    /// Starts the server with one empty bucket.
    pub async fn start() -> Result<Self> {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), BUCKET, (ACCESS_KEY, SECRET_KEY)).await
    }

    /// The same at this address, with a bucket of this name, for who has these keys.
    pub async fn at(address: SocketAddr, bucket: &str, keys: (&str, &str)) -> Result<Self> {
        let root = tempfile::tempdir()?;
        std::fs::create_dir(root.path().join(bucket))?;
        let files = s3s_fs::FileSystem::new(root.path())
            .map_err(|error| anyhow::anyhow!("s3s-fs: {error:?}"))?;
        let mut service = s3s::service::S3ServiceBuilder::new(files);
        service.set_auth(s3s::auth::SimpleAuth::from_single(keys.0, keys.1));
        let service = service.build();

        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let endpoint = format!("http://{address}");
        let (gate, open) = watch::channel(true);
        let (writes, signed_reads) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let signed_writes = Arc::<AtomicUsize>::default();
        let counters = (Arc::clone(&writes), Arc::clone(&signed_reads), Arc::clone(&signed_writes));
        let archived = Arc::<AtomicBool>::default();
        let refuses = Arc::clone(&archived);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (service, open, counters) = (service.clone(), open.clone(), counters.clone());
                let refuses = Arc::clone(&refuses);
                let answer = service_fn(move |request: Request<Incoming>| {
                    let (service, mut open) = (service.clone(), open.clone());
                    let (writes, reads, signed_writes) = counters.clone();
                    let refuses = refuses.load(Ordering::SeqCst);
                    async move {
                        let by_link = request.uri().query().is_some_and(is_signed);
                        if request.method() == Method::PUT {
                            writes.fetch_add(1, Ordering::SeqCst);
                            signed_writes.fetch_add(usize::from(by_link), Ordering::SeqCst);
                            // The sender lives as long as the server is wanted.
                            let _ = open.wait_for(|open| *open).await;
                        } else if by_link {
                            reads.fetch_add(1, Ordering::SeqCst);
                            if refuses {
                                return Ok(in_archive());
                            }
                        }
                        match checked(request).await {
                            Ok(request) => service.call(request).await,
                            Err(refused) => Ok(refused),
                        }
                    }
                });
                let serve = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), answer);
                tokio::spawn(serve);
            }
        });
        let bucket = bucket.to_owned();
        Ok(Self {
            root,
            bucket,
            address,
            endpoint,
            gate,
            writes,
            signed_reads,
            signed_writes,
            archived,
        })
    }

    /// From now on writes wait.
    pub fn close_gate(&self) {
        self.gate.send_replace(false);
    }

    pub fn open_gate(&self) {
        self.gate.send_replace(true);
    }

    /// Writes that have arrived, whether they wait or not.
    pub fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    /// Reads by a pre-signed URL.
    pub fn signed_reads(&self) -> usize {
        self.signed_reads.load(Ordering::SeqCst)
    }

    /// Writes by a pre-signed URL.
    pub fn signed_writes(&self) -> usize {
        self.signed_writes.load(Ordering::SeqCst)
    }

    /// From now on objects can be listed and looked at, and not be read: they are in an archive.
    pub fn archive(&self) {
        self.archived.store(true, Ordering::SeqCst);
    }

    /// Where an object of the bucket is on disk.
    pub fn path(&self, key: &str) -> PathBuf {
        self.root.path().join(&self.bucket).join(key)
    }

    /// A descriptor of a place in the bucket, opened by a secret.
    pub fn place(&self, name: &str, secret: &str) -> Value {
        json!({"dataSourceDescriptor": "aws", "params": {
            "@type": "type.googleapis.com/bytenite.data_source.S3DataSource",
            "name": name, "bucketName": self.bucket, "cloudRegion": "us-east-1",
            "endpoint": self.endpoint, "secret_id": secret,
        }})
    }

    /// The same with the keys inside, as in 2023.
    pub fn place_with_keys(&self, name: &str) -> Value {
        json!({"dataSourceDescriptor": "s3", "params": {
            "name": name, "bucketName": self.bucket, "cloudRegion": "us-east-1",
            "endpoint": self.endpoint, "accessKey": ACCESS_KEY, "secretKey": SECRET_KEY,
        }})
    }
}

/// A request that Amazon's store would take: s3s-fs obeys headers that are not signed, and stores
/// bytes before it checks their digest.
async fn checked(request: Request<Incoming>) -> Result<Request<s3s::Body>, Response<s3s::Body>> {
    let query = request.uri().query().unwrap_or_default();
    if is_signed(query) && request.headers().contains_key("x-amz-copy-source") {
        return Err(refusal(StatusCode::FORBIDDEN));
    }
    let Some(sum) = request.headers().get(CHECKSUM_HEADER).cloned() else {
        return Ok(request.map(s3s::Body::from));
    };
    let (head, body) = request.into_parts();
    let bytes = s3s::Body::from(body).store_all_limited(UPLOAD_BYTES_MAX).await;
    let of = |bytes: &[u8]| BASE64_STANDARD.encode(Digest::of(bytes).bytes());
    match bytes {
        Ok(bytes) if of(&bytes).as_bytes() == sum.as_bytes() => {
            Ok(Request::from_parts(head, s3s::Body::from(bytes)))
        }
        Ok(_) | Err(_) => Err(refusal(StatusCode::BAD_REQUEST)),
    }
}

fn refusal(status: StatusCode) -> Response<s3s::Body> {
    let mut response = Response::new(s3s::Body::empty());
    *response.status_mut() = status;
    response
}

fn in_archive() -> Response<s3s::Body> {
    let text = "<?xml version=\"1.0\"?><Error><Code>InvalidObjectState</Code></Error>".to_owned();
    let mut response = Response::new(s3s::Body::from(text));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response
}

fn is_signed(query: &str) -> bool {
    query.contains("X-Amz-Signature=")
}
