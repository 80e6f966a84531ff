//! The built-in assemblers: result files become one file, in order, streaming.

use bytes::Bytes;
use common::digest::Digester;
use common::ids::RunId;
use common::spec::Assembler;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::bucket::Bucket;
use super::key::BlobKey;
use super::upload::Expected;
use super::zip::Zip;
use super::{ByteStream, Error, ResultFile, ResultFiles, download, names};

/// Files up to this size are fetched ahead, so that many small ones do not wait for each other.
const SMALL_BYTES_MAX: u64 = 1 << 20;
const FETCHED_AHEAD: usize = 16;
/// Pieces of an archive between who makes and who stores them.
const PIECES_MAX: usize = 4;

/// Folds the files of a run and gives the final ones. Doing it twice gives the same.
pub async fn assemble(
    bucket: &Bucket,
    run: RunId,
    assembler: &Assembler,
    files: ResultFiles,
) -> Result<ResultFiles, Error> {
    let (name, bytes) = match assembler {
        Assembler::Passthrough => return Ok(files),
        Assembler::Concat { name } => (name, concat(bucket, files)),
        Assembler::Zip { name } => (name, zip(bucket, files)),
    };
    let name = names::safe(name);
    let key = BlobKey::Final { run, name: name.clone() };
    let stored = bucket.put(&key, Expected::Nothing, bytes).await?;
    let file = ResultFile { name, size: stored.size, digest: Some(stored.digest), key };
    Ok(futures::stream::iter([Ok(file)]).boxed())
}

/// The bytes of a result file. The stream fails at its end where they were not the right ones.
pub async fn open(bucket: &Bucket, file: &ResultFile) -> Result<ByteStream, Error> {
    let bytes = bucket.get(&file.key, 0..file.size).await?;
    let Some(digest) = file.digest else { return Ok(bytes) };
    let start = (bytes, Digester::default());
    let verified =
        futures::stream::try_unfold(start, move |(mut bytes, mut digester)| async move {
            match bytes.try_next().await? {
                Some(piece) => {
                    digester.update(&piece);
                    Ok(Some((piece, (bytes, digester))))
                }
                None if digester.finish() == digest => Ok(None),
                None => Err(Error::Mismatch),
            }
        });
    Ok(verified.boxed())
}

/// A result file on its way into a larger one.
enum Part {
    Small(ResultFile, Bytes),
    /// Opened when its turn comes.
    Large(ResultFile),
}

/// The files in their order; small ones are fetched ahead.
fn parts(bucket: &Bucket, files: ResultFiles) -> impl Stream<Item = Result<Part, Error>> + use<> {
    let bucket = bucket.clone();
    files
        .map(move |file| {
            let bucket = bucket.clone();
            async move {
                let file = file?;
                if file.size > SMALL_BYTES_MAX {
                    return Ok(Part::Large(file));
                }
                let bytes = download::collect(open(&bucket, &file).await?, file.size).await?;
                Ok(Part::Small(file, bytes))
            }
        })
        .buffered(FETCHED_AHEAD)
}

fn concat(bucket: &Bucket, files: ResultFiles) -> ByteStream {
    let ours = bucket.clone();
    parts(bucket, files)
        .and_then(move |part| {
            let bucket = ours.clone();
            async move {
                match part {
                    Part::Small(_, bytes) => Ok(futures::stream::iter([Ok(bytes)]).boxed()),
                    Part::Large(file) => open(&bucket, &file).await,
                }
            }
        })
        .try_flatten()
        .boxed()
}

fn zip(bucket: &Bucket, files: ResultFiles) -> ByteStream {
    let (pieces, archive) = mpsc::channel(PIECES_MAX);
    let bucket = bucket.clone();
    // The archive is made beside its reader; when the reader goes, the next piece ends this.
    let made = async move {
        if let Err(error) = write_zip(&bucket, files, &pieces).await {
            // Without a reader nobody misses the error.
            let _ = pieces.send(Err(error)).await;
        }
    };
    let made = futures::stream::once(made).filter_map(|()| std::future::ready(None));
    futures::stream::select(ReceiverStream::new(archive), made).boxed()
}

async fn write_zip(
    bucket: &Bucket,
    files: ResultFiles,
    pieces: &mpsc::Sender<Result<Bytes, Error>>,
) -> Result<(), Error> {
    let send = async |piece: Bytes| {
        let gone = |_| Error::Io(std::io::ErrorKind::BrokenPipe.into());
        pieces.send(Ok(piece)).await.map_err(gone)
    };
    let mut zip = Zip::default();
    let mut parts = std::pin::pin!(parts(bucket, files));
    while let Some(part) = parts.try_next().await? {
        match part {
            Part::Small(file, bytes) => {
                send(zip.whole(&names::safe(&file.name), &bytes).into()).await?;
            }
            Part::Large(file) => {
                let (header, entry) = zip.begin(&names::safe(&file.name), file.size);
                send(header.into()).await?;
                let mut crc = crc32fast::Hasher::new();
                let mut bytes = open(bucket, &file).await?;
                while let Some(piece) = bytes.try_next().await? {
                    crc.update(&piece);
                    send(piece).await?;
                }
                send(zip.end(&entry, crc.finalize()).into()).await?;
            }
        }
    }
    send(zip.finish().into()).await
}
