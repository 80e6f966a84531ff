//! Cutting and folding beside a plain copy of the same bytes, on a folder as bucket.

use std::path::Path;
use std::time::Duration;

use common::data::chunk_table::ChunkTable;
use common::data::location::{Identity, Source, UploadedFile};
use common::digest::Digest;
use common::ids::{JobId, RunId, WorkspaceId};
use common::plan::{Assembler, Partitioner};
use common::run::spec::result_name;
use common::run::task::{Lease, StageNo, TaskRef};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use server::data::bucket::blob_key::BlobKey;
use server::data::pace::{Pace, Side};
use server::data::ssrf_guard::Guard;
use server::data::{Bucket, ByteStream, Data, Error, Options, Resolved, ResultFile, Stored};
use server::limits::quotas::Quotas;
use server::secrets::Secrets;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::time::Instant;
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use super::figure::Figure;
use super::report::Report;
use crate::client::failure::Failure;

const CHUNK_BYTES: u64 = 8 << 20;
const PIECE_BYTES: usize = 1 << 20;
const JOB: JobId = JobId::new(Uuid::from_u128(1));
const OWNER: WorkspaceId = WorkspaceId::new(Uuid::from_u128(3));
const RUN: RunId = RunId::new(Uuid::from_u128(2));
const OUTPUT: &str = "result.txt";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// MiB of text to cut and fold; five times as much is needed on disk
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    size: u64,
}

pub async fn run(args: &Args) -> Result<Report, Failure> {
    let folder = tempfile::Builder::new().prefix("fanfold-bench-").tempdir();
    let folder = folder.map_err(|error| Failure::local("cannot make a temporary folder", error))?;
    measure(folder.path(), args.size << 20)
        .await
        .map_err(|error| Failure::caused("the data plane failed", &error))
}

async fn measure(folder: &Path, size: u64) -> Result<Report, Error> {
    let data = open(folder, Guard::new(false)).await?;
    let text = folder.join("text");
    write_text(&text, size).await?;
    let start = Instant::now();
    let upload = data.put(&BlobKey::Upload(JOB), bytes(File::open(&text).await?)).await?;
    let uploaded = start.elapsed();

    let digest = upload.digest;
    let source = source(upload);
    let pace = Pace::new(Side::Source);
    let start = Instant::now();
    let resolved = data.resolve(RUN, OWNER, &source, &pace).await?;
    let Resolved::Objects(objects) = resolved else { return Err(Error::Mismatch) };
    let verified = start.elapsed();
    let start = Instant::now();
    let partitioner = Partitioner::Lines { bytes: CHUNK_BYTES };
    let table = data.partition(OWNER, &source, partitioner, objects, &pace).await?;
    let cut = start.elapsed();

    let start = Instant::now();
    let results = process(&data, &source, &table).await?;
    let processed = start.elapsed();

    // A disk slows down as it is written to: copies are made on both sides of what is compared.
    let before = copy(&text, &folder.join("copy")).await?;
    let start = Instant::now();
    let files = stream::iter(results.into_iter().map(Ok)).boxed();
    let assembler = Assembler::Concat { name: OUTPUT.to_owned(), separator: String::new() };
    let folded: Vec<ResultFile> =
        data.assemble(OWNER, RUN, &assembler, files).await?.try_collect().await?;
    let assembled = start.elapsed();
    let after = copy(&text, &folder.join("copy")).await?;
    check(&data, &folded, digest).await?;
    let copied = (before + after) / 2;

    let mut report = Report::new("data: cutting and folding beside a plain copy");
    let mut rate = |what: &str, time| report.row(what, Figure::megabytes(size, time), "MB/s");
    rate("plain copy, synced, before and after", copied);
    rate("upload: hashed, synced", uploaded);
    rate("upload read through before the cut: hashed", verified);
    rate("partition and assemble", cut + assembled);
    rate("assemble (concat): hashed, synced", assembled);
    rate("chunks read, results hashed and stored", processed);
    report.row("partition (lines)", Figure::millis(cut), "ms");
    report.row("chunks", Figure::whole(table.len().into()), "");
    report.row("bytes", Figure::mebibytes(size), "MiB");
    report.row(
        "partition and assemble, of a synced copy's time",
        Figure::times(cut + assembled, copied),
        "x",
    );
    Ok(report)
}

/// A data plane of its own, on a folder as bucket.
pub(super) async fn open(folder: &Path, guard: Guard) -> Result<Data, Error> {
    let url = format!("sqlite://{}", folder.join("database").display());
    let db = server::store::open(&url).await.map_err(std::io::Error::other)?;
    let options = Options {
        bucket: Bucket::Folder(folder.join("bucket")),
        guard,
        public_url: String::new(),
        link_key: [0; 32],
    };
    let quotas = Quotas::new(db.clone(), u64::MAX >> 1);
    Data::open(options, db.clone(), Secrets::new(db, [0; 32]), quotas).await
}

/// Lines of many lengths, the same each time.
async fn write_text(path: &Path, size: u64) -> std::io::Result<()> {
    let mut block = String::new();
    for n in 0_usize.. {
        block.push_str("abcdefghijklmnopqrstuvwxyz".get(..n * 7 % 26).unwrap_or_default());
        block.push_str(" the quick brown fox jumps over the lazy dog\n");
        if block.len() >= PIECE_BYTES {
            break;
        }
    }
    let mut file = BufWriter::new(File::create(path).await?);
    let mut left = size;
    while left > 0 {
        let piece = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.write_all(&block.as_bytes()[..piece]).await?;
        left -= piece as u64;
    }
    file.flush().await?;
    file.get_ref().sync_all().await
}

/// Reads and writes as `cp` does without reflinks, and syncs what it has written, as the server
/// does.
async fn copy(from: &Path, to: &Path) -> std::io::Result<Duration> {
    let (mut from, to) = (std::fs::File::open(from)?, to.to_owned());
    let copying = move || {
        use std::io::{Read as _, Write as _};
        let mut file = std::fs::File::create(&to)?;
        let start = Instant::now();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match from.read(&mut piece)? {
                0 => break,
                n => file.write_all(&piece[..n])?,
            }
        }
        file.sync_all()?;
        let took = start.elapsed();
        std::fs::remove_file(&to)?;
        Ok(took)
    };
    tokio::task::spawn_blocking(copying).await.map_err(std::io::Error::other)?
}

/// What nodes would do: read each chunk and store it again as its result.
async fn process(
    data: &Data,
    source: &Source,
    table: &ChunkTable,
) -> Result<Vec<ResultFile>, Error> {
    let mut results = Vec::new();
    for index in 0..table.len() {
        let Some(chunk) = table.get(index) else { break };
        let read = || data.read(OWNER, source, &chunk.object, chunk.from..chunk.to);
        // The names of results hold their digests, which nodes know before they store.
        let digest = digest(read().await?).await?;
        let task = TaskRef { run: RUN, stage: StageNo::new(2), index };
        let key = BlobKey::Result { lease: Lease { task, attempt: 1 }, digest };
        let stored = data.put(&key, read().await?).await?;
        let name = result_name(index, table.len(), OUTPUT);
        results.push(ResultFile {
            name,
            size: stored.size,
            digest: Some(digest),
            key,
            content: None,
        });
    }
    Ok(results)
}

/// Folding what was cut gives the same bytes again.
async fn check(data: &Data, folded: &[ResultFile], source: Digest) -> Result<(), Error> {
    let [file] = folded else { return Err(Error::Mismatch) };
    if digest(data.get(&file.key, 0..file.size).await?).await? == source {
        Ok(())
    } else {
        Err(Error::Mismatch)
    }
}

async fn digest(mut bytes: ByteStream) -> Result<Digest, Error> {
    let mut digester = common::digest::Digester::default();
    while let Some(piece) = bytes.try_next().await? {
        digester.update(&piece);
    }
    Ok(digester.finish())
}

fn bytes(file: File) -> ByteStream {
    ReaderStream::with_capacity(file, PIECE_BYTES).map_err(Error::Io).boxed()
}

fn source(upload: Stored) -> Source {
    Source::File(UploadedFile {
        key: BlobKey::Upload(JOB).path(),
        name: "bench".to_owned(),
        size: upload.size,
        identity: Some(Identity::Digest(upload.digest)),
    })
}
