//! What a node moves between its disk and an S3 store, by the links that the server signs.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::compute::device::Device;
use common::compute::resources::{Resources, Usage};
use common::digest::{Digest, Digester};
use common::protocol::{
    Assignment, BlobRequest, Contents, Inputs, Orders, Outcome, Output, Receipt, SignedReceipt,
    Sync, UnsignedReceipt, sign_together,
};
use common::run::task::Lease;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use node::link::{self, Link};
use node::{IDLE_WAIT_MS, TRANSFERS_AT_ONCE, transfer};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use tokio::fs::File;
use tokio::time::Instant;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use super::figure::Figure;
use super::report::Report;
use super::setup::server_process::World;
use super::setup::{fleet, job};
use crate::client::failure::Failure;
use crate::client::session::Session;

const TEMPLATE: &str = "transfers";
const JOBS: &str = "/v1/customer/jobs";
const PIECE_BYTES: usize = 256 << 10;
/// How long the run may take to end after its last task.
const LAST: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of the S3 store, such as http://127.0.0.1:9000
    #[arg(long, value_name = "URL")]
    endpoint: String,
    /// A bucket of it, which must exist; what is stored there stays
    #[arg(long)]
    bucket: String,
    #[arg(long, env = "AWS_ACCESS_KEY_ID", hide_env_values = true)]
    access_key: String,
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    secret_key: String,
    /// MiB to fetch and to store; three times as much is needed on disk
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    size: u64,
    /// MiB of a chunk
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1024))]
    chunk: u64,
}

pub async fn run(args: &Args) -> Result<Report, Failure> {
    let Args { endpoint, bucket, access_key, secret_key, .. } = args;
    let settings = format!(
        "[data.s3]\nendpoint = {endpoint:?}\nbucket = {bucket:?}\nregion = \"us-east-1\"\n\
         access_key = {access_key:?}\nsecret_key = {secret_key:?}\n"
    );
    let world = World::start_with(&settings).await?;
    let folder = world.aside("files")?;
    let size = args.size << 20;
    let job = start(&world.session, &folder, size, args.chunk << 20).await?;
    let mut node = Node::join(&world, folder).await?;
    let moved = node.work(size).await?;
    let far = (Duration::from_millis(50), LAST);
    job::follow(&world.session, &job, far, job::Progress::is_final).await?;

    let mut report = Report::new("transfers: between a node's disk and an S3 store");
    let mut rate = |what: &str, time| report.row(what, Figure::megabytes(size, time), "MB/s");
    rate("fetched and hashed", moved.fetching);
    rate("hashed and stored", moved.storing);
    report.row("chunks", Figure::whole(moved.chunks), "");
    report.row("chunk", Figure::mebibytes(args.chunk << 20), "MiB");
    report.row("at once", Figure::whole(TRANSFERS_AT_ONCE as u64), "");
    Ok(report)
}

/// Starts a job over a file of this size, which it uploads, and gives the job's id.
async fn start(session: &Session, folder: &Path, size: u64, chunk: u64) -> Result<String, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Created {
        job: Job,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Job {
        id: String,
        data_source: DataSource,
    }
    #[derive(Deserialize)]
    struct DataSource {
        params: Params,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Params {
        temp_url: String,
    }
    job::prepare(session, folder).await?;
    let client = &session.client;
    let template = json!({
        "id": TEMPLATE, "app": job::TEMPLATE, "partitioner": "bytes", "assembler": "passthrough",
        "dataSource": { "dataSourceDescriptor": "file" },
        "dataDestination": { "dataSourceDescriptor": "bypass" },
    });
    client.post(client.url("/v1/dev/templates", &[]), &template).await?;
    let draft = json!({
        "templateId": TEMPLATE, "params": { "partitioner": { "chunk_bytes": chunk } },
    });
    let created: Created = client.post(client.url(JOBS, &[]), &draft).await?.read()?;
    let Job { id, data_source } = created.job;
    let source = folder.join("source");
    let failed = |error| Failure::local("cannot write the source", error);
    write_numbers(&source, size).map_err(failed)?;
    let bytes =
        ReaderStream::with_capacity(File::open(&source).await.map_err(failed)?, PIECE_BYTES);
    client.put_at_link(client.link(&data_source.params.temp_url)?, size, bytes).await?;
    client.send(Method::PATCH, client.url(JOBS, &[&id, "uploadcompleted"]), &json!({})).await?;
    std::fs::remove_file(&source).map_err(failed)?;
    job::run(session, &id).await?;
    Ok(id)
}

/// Numbers that rise, so that no two chunks are alike.
fn write_numbers(path: &Path, size: u64) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    for number in 0..size / 8 {
        file.write_all(&number.to_le_bytes())?;
    }
    file.flush()
}

/// How long it took to move the bytes.
#[derive(Debug, Default)]
struct Moved {
    chunks: u64,
    fetching: Duration,
    storing: Duration,
}

/// A file that was fetched, or stored.
struct Moving {
    lease: Lease,
    path: PathBuf,
    bytes: u64,
    digest: Option<Digest>,
}

/// A node whose tasks give back what they get.
struct Node {
    link: Link,
    token: String,
    folder: PathBuf,
    number: u64,
    receipts: Vec<(Lease, SignedReceipt)>,
    /// Lets the link go.
    _stop: tokio_util::sync::DropGuard,
}

impl Node {
    async fn join(world: &World, folder: PathBuf) -> Result<Self, Failure> {
        let stop = CancellationToken::new();
        let options = link::Options {
            server: world.addresses.clone(),
            key_file: folder.join("node.key"),
            allow_private_addresses: true,
        };
        let link = Link::start(options, stop.clone())
            .map_err(|error| Failure::caused("cannot start a node", &error))?;
        let token = fleet::token(&world.session).await?;
        let (number, receipts) = (0, Vec::new());
        Ok(Self { link, token, folder, number, receipts, _stop: stop.drop_guard() })
    }

    /// Works until all bytes are moved and the server knows it.
    async fn work(&mut self, bytes: u64) -> Result<Moved, Failure> {
        let (mut moved, mut left) = (Moved::default(), bytes);
        while left > 0 || !self.receipts.is_empty() {
            let message = self.message();
            let answer = self.link.sync(message).await;
            let answer = answer.map_err(|error| Failure::caused("the server is away", &error))?;
            let Orders::Work { assign, settled, .. } = answer else {
                return Err(Failure::local("the server refuses the node", "see its log"));
            };
            self.receipts.retain(|(lease, _)| !settled.contains(lease));
            let start = Instant::now();
            let fetched = self.fetch(assign).await?;
            moved.fetching += start.elapsed();
            let start = Instant::now();
            let stored = self.store(fetched).await?;
            moved.storing += start.elapsed();
            moved.chunks += stored.len() as u64;
            left -= stored.iter().map(|file| file.bytes).sum::<u64>().min(left);
            self.sign(&stored);
        }
        Ok(moved)
    }

    async fn fetch(&self, assigned: Vec<Assignment>) -> Result<Vec<Moving>, Failure> {
        let new = assigned
            .into_iter()
            .filter(|assignment| self.receipts.iter().all(|(lease, _)| *lease != assignment.lease));
        stream::iter(new.enumerate())
            .map(async |(n, Assignment { lease, inputs, .. })| {
                let Inputs::File { bytes, .. } = inputs else {
                    return Err(Failure::local("a task is not as it should be", "no input"));
                };
                let path = self.folder.join(format!("chunk{n}"));
                let request = |from| BlobRequest::Input { lease, n: 0, from };
                let expected =
                    transfer::Expected { bytes: Some(bytes), digest: None, bytes_max: bytes };
                let fetched = transfer::fetch(&self.link, request, &path, expected).await;
                fetched.map_err(|error| Failure::caused("cannot fetch a chunk", &error))?;
                Ok(Moving { lease, path, bytes, digest: None })
            })
            .buffer_unordered(TRANSFERS_AT_ONCE)
            .try_collect()
            .await
    }

    async fn store(&self, fetched: Vec<Moving>) -> Result<Vec<Moving>, Failure> {
        stream::iter(fetched)
            .map(async |file| {
                let Moving { lease, path, bytes, .. } = file;
                let from = path.clone();
                let hashed = tokio::task::spawn_blocking(move || digest(&from)).await;
                let digest = hashed
                    .map_err(std::io::Error::other)
                    .and_then(|digest| digest)
                    .map_err(|error| Failure::local("cannot read a result", error))?;
                let stored = transfer::put(&self.link, lease, bytes, digest, &path).await;
                stored.map_err(|error| Failure::caused("cannot store a result", &error))?;
                Ok(Moving { lease, path, bytes, digest: Some(digest) })
            })
            .buffer_unordered(TRANSFERS_AT_ONCE)
            .try_collect()
            .await
    }

    fn sign(&mut self, stored: &[Moving]) {
        let unsigned = stored.iter().filter_map(|file| {
            let output = Output { name: "out".to_owned(), size: file.bytes, digest: file.digest? };
            let usage = Usage { cpu_ms: 1, memory_mib_ms: 1, wall_ms: 1, ..Usage::default() };
            let outcome = Outcome::Succeeded { outputs: vec![output], value: None };
            let receipt = Receipt { lease: file.lease, usage, outcome };
            Some(UnsignedReceipt::new(&receipt, Contents::default()))
        });
        let signed = sign_together(unsigned.collect(), |bytes| self.link.sign(bytes));
        self.receipts.extend(stored.iter().map(|file| file.lease).zip(signed));
    }

    fn message(&mut self) -> Sync {
        self.number += 1;
        let at_once = u32::try_from(TRANSFERS_AT_ONCE).unwrap_or(u32::MAX);
        Sync {
            incarnation: 1,
            number: self.number,
            token: Some(self.token.clone()),
            capacity: Resources::new(1000 * at_once, 1024 * at_once).with_disk(u32::MAX),
            engine_away: false,
            prefetch: 0,
            device: Device::default(),
            holding: Vec::new(),
            receipts: self.receipts.iter().map(|(_, receipt)| receipt.clone()).collect(),
            logs: Vec::new(),
            samples: Vec::new(),
            probe: None,
            wait_ms: IDLE_WAIT_MS,
        }
    }
}

fn digest(path: &Path) -> std::io::Result<Digest> {
    let (mut file, mut piece) = (std::fs::File::open(path)?, vec![0; PIECE_BYTES]);
    let mut digester = Digester::default();
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(digester.finish()),
            read => digester.update(&piece[..read]),
        }
    }
}
