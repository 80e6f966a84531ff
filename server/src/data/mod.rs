//! The data plane: Fanfold's bucket, the customers' sources and destinations, cutting and
//! folding. Everything streams; nothing is held whole in memory.

mod file_name;
pub mod output;
pub mod pace;
pub mod ssrf_guard;
mod store_pool;

pub mod bucket;
mod cloud;
mod error;
mod partition;
mod small_results;
mod source;
#[cfg(test)]
pub mod testing;

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use common::data::chunk_table::ChunkTable;
use common::data::location::{Destination, Location as _, Source};
use common::data::object_list::{Object, Objects};
use common::digest::Digest;
use common::ids::{JobId, RunId, WorkspaceId};
use common::plan::{Assembler, Partitioner};
use common::protocol::Version;
use common::secret::{SecretId, Target};
use futures::Stream;
use reqwest::Method;

use crate::clock;
use crate::limits::concurrency::KeyedSemaphore;
use crate::limits::quotas::Quotas;
use crate::secrets::{self, KeyPair, Secrets};
use crate::store::Db;
use crate::store::market::tasks;
use bucket::Written;
use bucket::blob_key::BlobKey;
use bucket::checked::Checked;
use bucket::links::{Holder, LinkError, Linked, Links, OpenedLink};
use bucket::upload::Expected;
use bucket::upload_links::UploadLink;
pub use error::Error;
use pace::{Pace, Side};
use source::Reader;
pub use source::Resolved;
pub use source::probe::{Listed, Looked, LookedKind};
use ssrf_guard::Guard;
use store_pool::Customers;

pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// Reads, writes, cuts and folds; a cheap handle.
#[derive(Clone)]
pub struct Data {
    bucket: bucket::Bucket,
    db: Db,
    links: Arc<Links>,
    customers: Arc<Customers>,
    secrets: Secrets,
    looks: KeyedSemaphore<WorkspaceId>,
    quotas: Quotas,
    checked: Arc<Checked>,
}

/// How long a node may begin to read an object by itself after it was told where it is. It begins
/// at once, and asks again under its lease to go on; the rest is for clocks that differ.
const DIRECT_LIVES: Duration = Duration::from_secs(5 * 60);

/// Where Fanfold's own bucket is, and what the server may reach.
#[derive(Debug, Clone)]
pub struct Options {
    pub bucket: Bucket,
    /// Where URLs and endpoints of customers may lead.
    pub guard: Guard,
    /// The server's address as its users see it, without a final slash: links start with it.
    pub public_url: String,
    /// Signs the links of a bucket that cannot sign its own.
    pub link_key: [u8; 32],
}

#[derive(Debug, Clone)]
pub enum Bucket {
    Folder(std::path::PathBuf),
    S3 {
        bucket: String,
        region: String,
        endpoint: Option<String>,
        access_key: String,
        secret_key: String,
    },
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub size: u64,
    pub digest: Digest,
}

/// What is known of an object in Fanfold's bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    pub size: u64,
    pub modified: DateTime<Utc>,
    /// Another one once the object is written again.
    pub version: Option<String>,
}

/// Where anybody can read an object for a short while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Direct {
    pub url: String,
    /// What must be found there, where that can be told.
    pub version: Option<Version>,
}

/// A result file on its way to the assembler or the destination.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultFile {
    /// Unique over the run.
    pub name: String,
    pub size: u64,
    pub digest: Option<Digest>,
    pub key: BlobKey,
    /// Its bytes, where they are no object of the bucket.
    pub content: Option<Bytes>,
}

impl ResultFile {
    /// A file under the one name that it has from here on.
    pub fn new(name: &str, size: u64, digest: Option<Digest>, key: BlobKey) -> Self {
        Self { name: file_name::of_result(name), size, digest, key, content: None }
    }
}

pub type ResultFiles = Pin<Box<dyn Stream<Item = Result<ResultFile, Error>> + Send>>;

impl Data {
    /// Opens the bucket; a folder is created.
    pub async fn open(
        options: Options,
        db: Db,
        secrets: Secrets,
        quotas: Quotas,
    ) -> Result<Self, Error> {
        Ok(Self {
            bucket: bucket::Bucket::open(&options.bucket).await?,
            db,
            links: Arc::new(Links::new(&options.public_url, &options.link_key)),
            customers: Customers::new(options.guard),
            secrets,
            looks: source::probe::places(),
            quotas,
            checked: Arc::default(),
        })
    }

    /// Where URLs of customers may lead.
    pub fn guard(&self) -> Guard {
        self.customers.guard()
    }

    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// What each workspace may keep in the bucket.
    pub const fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    // --- Fanfold's bucket ---

    /// Whether the bucket answers, and lets the server in.
    pub async fn probe(&self) -> Result<(), Error> {
        self.bucket.probe().await
    }

    /// Writes an object, whole or not at all.
    pub async fn put(&self, key: &BlobKey, bytes: ByteStream) -> Result<Stored, Error> {
        self.bucket.put(key, Expected::Nothing, bytes).await
    }

    /// Writes an object only if it has the announced size and digest.
    ///
    /// # Errors
    /// `Mismatch` where it has not; an older object under the same key is then untouched.
    pub async fn put_verified(
        &self,
        key: &BlobKey,
        expected: Stored,
        bytes: ByteStream,
    ) -> Result<(), Error> {
        self.bucket.put(key, Expected::Stored(expected), bytes).await.map(drop)
    }

    /// Writes a run's result, which counts against its workspace's quota, if it has the announced
    /// size and digest.
    ///
    /// # Errors
    /// `Full` where there is no room for it, and `Mismatch` as above.
    pub async fn put_result(
        &self,
        owner: WorkspaceId,
        run: RunId,
        key: &BlobKey,
        expected: Stored,
        bytes: ByteStream,
    ) -> Result<(), Error> {
        let room = self.quotas.reserve_run(owner, run, expected.size).await?;
        self.put_verified(key, expected, bytes).await?;
        room.keep();
        Ok(())
    }

    /// Where the bucket itself takes a result, and nothing else; `None` where it cannot.
    pub async fn result_link(
        &self,
        key: &BlobKey,
        expected: Stored,
    ) -> Result<Option<UploadLink>, Error> {
        self.bucket.upload_link(key, expected).await
    }

    /// The size of an object of the bucket; `None` where the bucket does not have it.
    pub async fn size(&self, key: &BlobKey) -> Result<Option<u64>, Error> {
        self.bucket.size(key).await
    }

    /// The size and version of an object or a small result; `None` where neither exists.
    pub async fn stat(&self, key: &BlobKey) -> Result<Option<Stat>, Error> {
        if let Some(stat) = self.stat_small(key).await? {
            return Ok(Some(stat));
        }
        self.bucket.stat(key).await
    }

    /// The bytes of a range.
    ///
    /// # Errors
    /// `NotFound`, and `Mismatch` where the range goes beyond the object's end.
    pub async fn get(&self, key: &BlobKey, range: Range<u64>) -> Result<ByteStream, Error> {
        if let Some(bytes) = self.find_small(key).await? {
            return small_results::part(&bytes, range);
        }
        self.bucket.get(key, range).await
    }

    /// A URL of this server from which anybody can download the object until the link ends, or
    /// its holder's access does.
    pub fn download_link(
        &self,
        key: &BlobKey,
        file: Linked<'_>,
        holder: Holder,
        lives: Duration,
    ) -> String {
        let expires = bucket::links::expiry(clock::now(), lives);
        self.links.make(&Method::GET, key, file, Some(holder), expires)
    }

    /// A URL of the store itself from which the object can be downloaded at once; `None` where the
    /// store cannot sign, or has it not. Nobody can take it back, so it lives for minutes.
    pub async fn direct_link(
        &self,
        key: &BlobKey,
        file_name: &str,
    ) -> Result<Option<String>, Error> {
        let link = self.bucket.sign(Method::GET, key, Some(file_name), DIRECT_LIVES).await?;
        let is_elsewhere = link.is_some() && self.find_small(key).await?.is_some();
        Ok(link.filter(|_| !is_elsewhere))
    }

    /// A URL to which anybody can PUT the object until the link ends.
    pub async fn upload_link(&self, key: &BlobKey, lives: Duration) -> Result<String, Error> {
        match self.bucket.sign(Method::PUT, key, None, lives).await? {
            Some(link) => Ok(link),
            None => {
                let expires = bucket::links::expiry(clock::now(), lives);
                Ok(self.links.make(&Method::PUT, key, Linked::default(), None, expires))
            }
        }
    }

    /// Checks a link that this server serves: `segment` is the path's last one, behind
    /// [`links::PATH`], and `query` the raw query.
    pub fn open_link(
        &self,
        method: &Method,
        segment: &str,
        query: &str,
    ) -> Result<OpenedLink, LinkError> {
        self.links.open(method, segment, query, clock::now())
    }

    /// Removes what was uploaded for a job.
    pub async fn purge_upload(&self, job: JobId) -> Result<(), Error> {
        self.bucket.purge_upload(job).await?;
        Ok(self.quotas.forget(&BlobKey::Upload(job)).await?)
    }

    /// Removes everything of a run.
    pub async fn purge_run(&self, run: RunId) -> Result<(), Error> {
        self.bucket.purge_run(run).await?;
        tasks::small_results::delete(&self.db, run).await?;
        Ok(self.quotas.forget_run(run).await?)
    }

    /// Removes an object that no row names.
    pub async fn purge(&self, key: &BlobKey) -> Result<(), Error> {
        self.bucket.remove(key).await
    }

    /// All keys below a folder of the bucket, in no order, with the time when each was written.
    pub fn objects(&self, folder: &str) -> Written {
        self.bucket.objects(folder)
    }

    // --- Sources ---

    /// Looks at a source for `run`: its objects, their sizes and versions. An uploaded file is read
    /// through: one that has rotted is better found now than in a result.
    ///
    /// # Errors
    /// `Damaged` where an uploaded file is not the one that was uploaded; `Customer` where it cannot be read, or its server is slower than `pace` allows; the same
    /// holds for all that read a source.
    pub async fn resolve(
        &self,
        run: RunId,
        owner: WorkspaceId,
        source: &Source,
        pace: &Pace,
    ) -> Result<Resolved, Error> {
        self.reader(owner, source, pace).await?.resolve(run, source).await
    }

    /// Copies a source that cannot be read by ranges into the bucket for `run`.
    pub async fn stage(
        &self,
        run: RunId,
        owner: WorkspaceId,
        source: &Source,
        pace: &Pace,
    ) -> Result<Objects, Error> {
        let count = |bytes| self.quotas.counted_run(owner, run, bytes);
        self.reader(owner, source, pace).await?.stage(run, count).await
    }

    /// Cuts objects with a built-in partitioner: small range reads, no copies.
    pub async fn partition(
        &self,
        owner: WorkspaceId,
        source: &Source,
        partitioner: Partitioner,
        objects: Objects,
        pace: &Pace,
    ) -> Result<ChunkTable, Error> {
        let reader = self.reader(owner, source, pace).await?;
        partition::partition(&reader, partitioner, objects).await
    }

    /// Bytes of an object that a run reads.
    pub async fn read(
        &self,
        owner: WorkspaceId,
        source: &Source,
        object: &Object,
        range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        if let Some(bytes) = self.small_object(object).await? {
            return small_results::part(&bytes, range);
        }
        let pace = Pace::new(Side::Source);
        self.reader(owner, source, &pace).await?.read(object, range).await
    }

    /// A URL from which a node can read the object itself, or `None` where it must be passed on.
    pub async fn direct(
        &self,
        owner: WorkspaceId,
        source: &Source,
        object: &Object,
    ) -> Result<Option<Direct>, Error> {
        let pace = Pace::new(Side::Source);
        let reader = self.reader(owner, source, &pace).await?;
        let direct = reader.direct(object, DIRECT_LIVES).await?;
        let is_elsewhere = direct.is_some() && self.small_object(object).await?.is_some();
        Ok(direct.filter(|_| !is_elsewhere))
    }

    // --- Folding ---

    /// Folds result files with a built-in assembler and gives the final files. Passthrough gives
    /// its input; the others write one object. Doing it twice gives the same.
    pub async fn assemble(
        &self,
        owner: WorkspaceId,
        run: RunId,
        assembler: &Assembler,
        files: ResultFiles,
    ) -> Result<ResultFiles, Error> {
        let count = |bytes| self.quotas.counted_run(owner, run, bytes);
        output::assemble::assemble(&self.bucket, run, assembler, files, count).await
    }

    /// Copies a final file to the run's destination (not called for the temporary bucket and
    /// bypass). Doing it twice gives the same.
    pub async fn deliver(
        &self,
        owner: WorkspaceId,
        destination: &Destination,
        file: &ResultFile,
        pace: &Pace,
    ) -> Result<(), Error> {
        let Destination::Cloud { bucket, folder } = destination else { return Ok(()) };
        let target = Target::Bucket(bucket);
        let keys = self.keys(owner, bucket.secret.as_ref(), &target).await?;
        let destination = self.customers.bucket(bucket, keys.as_ref()).await?;
        output::deliver::deliver(&self.bucket, &destination, folder, file, pace).await
    }

    /// A source opened with its owner's keys.
    async fn reader(
        &self,
        owner: WorkspaceId,
        source: &Source,
        pace: &Pace,
    ) -> Result<Reader, Error> {
        let opened = match self.customers.kept(owner, source) {
            Some(opened) => opened,
            None => {
                let keys = match source.target() {
                    Some(target) => self.keys(owner, source.secret(), &target).await?,
                    None => None,
                };
                self.customers.open(owner, source, keys.as_ref()).await?
            }
        };
        if let Some(server) = opened.server() {
            pace.name(server);
        }
        Ok(Reader { ours: self.bucket.clone(), source: opened, pace: pace.clone() })
    }

    /// The keys in a secret, to be sent to this place.
    async fn keys(
        &self,
        owner: WorkspaceId,
        id: Option<&SecretId>,
        target: &Target<'_>,
    ) -> Result<Option<KeyPair>, Error> {
        let Some(id) = id else { return Ok(None) };
        match self.secrets.open(owner, id, target).await {
            Ok(keys) => Ok(Some(keys)),
            Err(error @ secrets::Error::NotFound(_)) => {
                Err(Error::Customer(format!("secret: {error}; store it again")))
            }
            Err(error @ secrets::Error::Misuse { .. }) => {
                Err(Error::Customer(format!("secret: {error}")))
            }
            Err(error @ (secrets::Error::Key | secrets::Error::Db(_))) => {
                Err(Error::Io(std::io::Error::other(error)))
            }
        }
    }
}
