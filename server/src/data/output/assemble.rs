//! The built-in assemblers: result files become one file, in order, streaming.

use bytes::Bytes;
use common::ids::RunId;
use common::plan::Assembler;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::zip::Zip;
use crate::data::bucket::Bucket;
use crate::data::bucket::blob_key::BlobKey;
use crate::data::bucket::download;
use crate::data::bucket::upload::Expected;
use crate::data::{ByteStream, Error, ResultFile, ResultFiles, file_name};

/// Files up to this size are fetched ahead, so that many small ones do not wait for each other.
const SMALL_BYTES_MAX: u64 = 1 << 20;
const FETCHED_AHEAD: usize = 16;
/// Pieces of an archive between who makes and who stores them.
const PIECES_MAX: usize = 4;

/// Folds the files of a run and gives the final ones; `count` counts what is written against the
/// workspace's quota. Doing it twice gives the same.
pub async fn assemble(
    bucket: &Bucket,
    run: RunId,
    assembler: &Assembler,
    files: ResultFiles,
    count: impl FnOnce(ByteStream) -> ByteStream,
) -> Result<ResultFiles, Error> {
    let (name, bytes) = match assembler {
        Assembler::Passthrough => return Ok(files),
        Assembler::Concat { name, separator } => {
            let (bucket, separator) = (bucket.clone(), Bytes::from(separator.clone()));
            let make = async move |pieces| write_concat(&bucket, files, separator, &pieces).await;
            (name, made(make))
        }
        Assembler::Zip { name } => {
            let bucket = bucket.clone();
            (name, made(async move |pieces| write_zip(&bucket, files, &pieces).await))
        }
    };
    let name = file_name::of_result(name);
    let key = BlobKey::Final { run, name: name.clone() };
    let stored = bucket.put(&key, Expected::Nothing, count(bytes)).await?;
    let file =
        ResultFile { name, size: stored.size, digest: Some(stored.digest), key, content: None };
    Ok(futures::stream::iter([Ok(file)]).boxed())
}

/// The bytes of a result file. The stream fails at its end where they were not the right ones.
async fn open(bucket: &Bucket, file: &ResultFile) -> Result<ByteStream, Error> {
    let bytes = open_unchecked(bucket, file).await?;
    Ok(match file.digest {
        Some(digest) => download::verified(digest, &file.name, bytes),
        None => bytes,
    })
}

/// The same for who checks them against the file's digest.
pub(super) async fn open_unchecked(
    bucket: &Bucket,
    file: &ResultFile,
) -> Result<ByteStream, Error> {
    if let Some(bytes) = &file.content {
        return Ok(futures::stream::iter([Ok(bytes.clone())]).boxed());
    }
    let bytes = bucket.get(&file.key, 0..file.size).await;
    bytes.map_err(|e| e.map_missing(|| Error::Damaged(file.name.clone())))
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

/// What is made of result files, piece by piece, in a task of its own: its files are read and
/// checked while the reader works on what is made of them. When the reader goes, it ends.
fn made<M: Future<Output = Result<(), Error>> + Send + 'static>(
    make: impl FnOnce(mpsc::Sender<Result<Bytes, Error>>) -> M,
) -> ByteStream {
    let (pieces, made) = mpsc::channel(PIECES_MAX);
    let making = AbortOnDropHandle::new(tokio::spawn(make(pieces).in_current_span()));
    let ended = async {
        match making.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Err(error)),
            // It is the step's own, which ends its run.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(cancelled) => Some(Err(Error::Io(std::io::Error::other(cancelled)))),
        }
    };
    let ended = futures::stream::once(ended).filter_map(std::future::ready);
    ReceiverStream::new(made).chain(ended).boxed()
}

async fn send(pieces: &mpsc::Sender<Result<Bytes, Error>>, piece: Bytes) -> Result<(), Error> {
    let gone = |_| Error::Io(std::io::ErrorKind::BrokenPipe.into());
    pieces.send(Ok(piece)).await.map_err(gone)
}

async fn write_concat(
    bucket: &Bucket,
    files: ResultFiles,
    separator: Bytes,
    pieces: &mpsc::Sender<Result<Bytes, Error>>,
) -> Result<(), Error> {
    // The last bytes so far, as many as the separator has.
    let mut tail = Vec::new();
    let mut parts = std::pin::pin!(parts(bucket, files));
    while let Some(part) = parts.try_next().await? {
        let mut bytes = match part {
            Part::Small(_, bytes) => futures::stream::iter([Ok(bytes)]).boxed(),
            Part::Large(file) => open(bucket, &file).await?,
        };
        let mut begun = false;
        while let Some(piece) = bytes.try_next().await? {
            if piece.is_empty() {
                continue;
            }
            if !begun && !tail.is_empty() && tail != separator {
                send(pieces, separator.clone()).await?;
            }
            if !begun {
                // A file's end counts for itself alone.
                tail.clear();
                begun = true;
            }
            let last = piece.len().saturating_sub(separator.len());
            tail.extend_from_slice(&piece[last..]);
            tail.drain(..tail.len().saturating_sub(separator.len()));
            send(pieces, piece).await?;
        }
    }
    Ok(())
}

async fn write_zip(
    bucket: &Bucket,
    files: ResultFiles,
    pieces: &mpsc::Sender<Result<Bytes, Error>>,
) -> Result<(), Error> {
    let send = async |piece: Bytes| send(pieces, piece).await;
    let mut zip = Zip::default();
    let mut parts = std::pin::pin!(parts(bucket, files));
    while let Some(part) = parts.try_next().await? {
        match part {
            Part::Small(file, bytes) => {
                send(zip.whole(&file.name, &bytes).into()).await?;
            }
            Part::Large(file) => {
                let (header, entry) = zip.begin(&file.name, file.size);
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

#[cfg(test)]
mod tests {
    use async_zip::base::read1::seek::ZipArchiveReader;
    use futures::AsyncReadExt as _;

    use super::*;
    use crate::data::testing::{RUN, S3Server, folder, noise, result, text};

    const NAMES: [&str; 5] =
        ["0000000_a.txt", "0000001_a.txt", "0000001_b é.txt", "0000002_a", "0000003_a"];

    /// Small, empty and large files.
    fn contents() -> [Vec<u8>; 5] {
        [b"one".to_vec(), Vec::new(), b"three".to_vec(), noise((3 << 20) + 17), b"five".to_vec()]
    }

    async fn results(bucket: &Bucket) -> Vec<ResultFile> {
        let mut files = Vec::new();
        for (index, (name, bytes)) in (0..).zip(NAMES.iter().zip(contents())) {
            files.push(result(bucket, index, name, &bytes).await);
        }
        files
    }

    fn stream(files: &[ResultFile]) -> ResultFiles {
        futures::stream::iter(files.to_vec()).map(Ok).boxed()
    }

    async fn fold(bucket: &Bucket, how: &Assembler, files: &[ResultFile]) -> ResultFile {
        let folded = assemble(bucket, RUN, how, stream(files), |bytes| bytes).await.unwrap();
        let folded: Vec<_> = folded.try_collect().await.unwrap();
        let [file] = folded.try_into().unwrap();
        file
    }

    fn concat(name: &str, separator: &str) -> Assembler {
        Assembler::Concat { name: name.into(), separator: separator.into() }
    }

    async fn content(bucket: &Bucket, file: &ResultFile) -> Vec<u8> {
        text(open(bucket, file).await.unwrap()).await.unwrap()
    }

    async fn folds(bucket: &Bucket) {
        let files = results(bucket).await;

        let how = concat("../all.txt", "");
        let joined = fold(bucket, &how, &files).await;
        assert_eq!(joined.name, file_name::of_result("../all.txt"));
        assert!(content(bucket, &joined).await == contents().concat());
        assert_eq!(fold(bucket, &how, &files).await, joined);

        let how = Assembler::Zip { name: "all.zip".into() };
        let packed = fold(bucket, &how, &files).await;
        assert_eq!(fold(bucket, &how, &files).await, packed);
        let bytes = content(bucket, &packed).await;
        let reader = futures::io::BufReader::new(futures::io::Cursor::new(bytes));
        let mut archive = ZipArchiveReader::open(reader).await.unwrap();
        for (index, (name, expected)) in NAMES.iter().zip(contents()).enumerate() {
            // The reader checks sizes, checksums and both headers of a file against each other.
            let mut file = archive.file(index).await.unwrap();
            assert_eq!(file.cdr().unwrap().insecure_file_name.as_str().unwrap(), *name);
            let mut read = Vec::new();
            file.read_to_end(&mut read).await.unwrap();
            assert!(read == expected, "{name}");
        }
        assert!(archive.file(NAMES.len()).await.is_err());
    }

    #[tokio::test]
    async fn files_fold_in_order_in_a_folder() {
        let (_folder, bucket) = folder().await;

        folds(&bucket).await;
    }

    #[tokio::test]
    async fn files_fold_in_order_in_an_s3_bucket() {
        let server = S3Server::start().await;

        folds(&server.bucket().await).await;
    }

    #[tokio::test]
    async fn fold_of_no_files_is_an_empty_file() {
        let (_folder, bucket) = folder().await;

        let joined = fold(&bucket, &concat("x", "\n"), &[]).await;
        let packed = fold(&bucket, &Assembler::Zip { name: "y".into() }, &[]).await;

        assert_eq!((joined.size, packed.size), (0, 22));
    }

    #[tokio::test]
    async fn panic_of_what_is_made_is_its_readers() {
        let making = async |_| panic!("a fault");

        let read = tokio::spawn(made(making).try_collect::<Vec<_>>()).await;

        assert!(read.unwrap_err().is_panic());
    }

    #[tokio::test]
    async fn concat_adds_its_separator_where_it_is_missing() {
        let (_folder, bucket) = folder().await;
        let large = noise((1 << 20) + 1);
        let parts: [&[u8]; 6] = [b"", b"1;a", b"2;b\r\n", b"", &large, b"\n"];
        let mut files = Vec::new();
        for (index, (name, bytes)) in (0..).zip(["a", "b", "c", "d", "e", "f"].iter().zip(parts)) {
            files.push(result(&bucket, index, name, bytes).await);
        }
        for (separator, expected) in [
            ("", parts.concat()),
            ("\n", [b"1;a\n2;b\r\n", &large[..], b"\n\n"].concat()),
            ("\r\n", [b"1;a\r\n2;b\r\n", &large[..], b"\r\n\n"].concat()),
        ] {
            let joined = fold(&bucket, &concat("x", separator), &files).await;

            assert!(content(&bucket, &joined).await == expected, "{separator:?}");
        }
    }

    #[tokio::test]
    async fn passthrough_gives_its_input() {
        let (_folder, bucket) = folder().await;
        let files = results(&bucket).await;

        let passed = assemble(&bucket, RUN, &Assembler::Passthrough, stream(&files), |bytes| bytes)
            .await
            .unwrap();

        assert_eq!(passed.try_collect::<Vec<_>>().await.unwrap(), files);
    }

    #[tokio::test]
    async fn fold_fails_on_a_missing_or_damaged_file() {
        let (_folder, bucket) = folder().await;
        for at in [0, 3] {
            let mut wrong = results(&bucket).await;
            wrong[at].digest = Some(common::digest::Digest::of(b"other"));
            let mut missing = results(&bucket).await;
            missing[at].key = BlobKey::Staged { run: RUN, n: 9 };
            for files in [wrong, missing] {
                for how in [concat("n", ""), Assembler::Zip { name: "n".into() }] {
                    let folded = assemble(&bucket, RUN, &how, stream(&files), |bytes| bytes).await;

                    assert!(folded.is_err());
                    let key = BlobKey::Final { run: RUN, name: "n".into() };
                    assert_eq!(bucket.size(&key).await.unwrap(), None);
                }
            }
        }
    }
}
