//! The built-in partitioners: they compute where objects are cut, and copy nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use common::chunks::{ChunkTable, CutError, Object};
use common::spec::Partitioner;
use futures::{StreamExt as _, TryStreamExt as _};

use super::source::Reader;
use super::{Error, download};

/// The first look for a line's end; each further one reads twice as much, up to a limit that
/// bounds the memory of all reads together.
const LOOK_BYTES: u64 = 4 << 10;
const LOOK_BYTES_MAX: u64 = 1 << 20;
/// Longest line that is looked through beyond the border that was asked for.
const LINE_BYTES_MAX: u64 = 64 << 20;
const READS_AT_ONCE: usize = 16;
/// Below this distance of borders, one look at each would read most of the object anyway, piece
/// by piece: it is read through once instead.
const SCAN_BELOW_BYTES: u64 = 64 << 10;
/// Borders that depend on the data are kept in memory, one number each.
const LINE_CHUNKS_MAX: u64 = 1 << 24;

/// Cuts objects.
///
/// # Errors
/// `Customer` where the data cannot be cut so, and whatever reading it says.
pub async fn partition(
    reader: &Reader,
    partitioner: Partitioner,
    objects: Vec<Object>,
) -> Result<ChunkTable, Error> {
    match partitioner {
        Partitioner::Passthrough | Partitioner::File => ChunkTable::whole(objects),
        Partitioner::Replicate { copies } => ChunkTable::copies(objects, copies),
        Partitioner::Bytes { bytes } => ChunkTable::every(objects, bytes),
        Partitioner::Lines { bytes: 0 } => Err(CutError::NoBytes),
        Partitioner::Lines { bytes } => {
            let mut borders = Vec::with_capacity(objects.len());
            for object in &objects {
                borders.push(line_borders(reader, object, bytes).await?);
            }
            ChunkTable::at(objects, borders)
        }
    }
    .map_err(|error| Error::Customer(format!("params.partitioner: {error}")))
}

/// The borders of an object: at or after each multiple of `bytes`, where the next line starts.
async fn line_borders(reader: &Reader, object: &Object, bytes: u64) -> Result<Vec<u64>, Error> {
    if object.size.div_ceil(bytes) > LINE_CHUNKS_MAX {
        return Err(Error::Customer(format!(
            "params.partitioner.chunk_bytes: chunks of {bytes} bytes would cut {:?} into more \
             than {LINE_CHUNKS_MAX}; ask for larger ones",
            object.name
        )));
    }
    let mut borders = if bytes < SCAN_BELOW_BYTES {
        scan(reader, object, bytes).await?
    } else {
        look(reader, object, bytes).await?
    };
    if object.size > 0 {
        borders.push(object.size);
    }
    Ok(borders)
}

/// Finds the inner borders with a small read at each, several at a time.
async fn look(reader: &Reader, object: &Object, bytes: u64) -> Result<Vec<u64>, Error> {
    // Wishes that lie in a line whose end is known already are not read for.
    let reached = AtomicU64::new(0);
    let wishes = (1..object.size.div_ceil(bytes)).map(|n| n * bytes);
    let mut found = futures::stream::iter(wishes)
        .filter(|wish| std::future::ready(*wish > reached.load(Ordering::Relaxed)))
        .map(|wish| line_start(reader, object, wish))
        .buffered(READS_AT_ONCE);
    let mut borders = vec![0];
    while let Some(border) = found.try_next().await? {
        if border < object.size && borders.last().is_none_or(|last| *last < border) {
            borders.push(border);
        }
        reached.fetch_max(border, Ordering::Relaxed);
    }
    Ok(borders)
}

/// The first start of a line at or after `wish`, or the object's end.
async fn line_start(reader: &Reader, object: &Object, wish: u64) -> Result<u64, Error> {
    // The byte before decides whether a line starts at the wish itself.
    let (mut from, mut window) = (wish - 1, LOOK_BYTES);
    while from < object.size {
        if from.saturating_sub(wish) >= LINE_BYTES_MAX {
            return Err(long_line(object, wish));
        }
        let to = (from + window).min(object.size);
        let piece = download::collect(reader.read(object, from..to).await?, window).await?;
        if let Some(at) = memchr::memchr(b'\n', &piece) {
            return Ok(from + at as u64 + 1);
        }
        (from, window) = (to, (window * 2).min(LOOK_BYTES_MAX));
    }
    Ok(object.size)
}

/// Finds the inner borders in one pass.
async fn scan(reader: &Reader, object: &Object, bytes: u64) -> Result<Vec<u64>, Error> {
    let mut borders = vec![0];
    let mut wish = bytes;
    let mut at = 0u64;
    let mut pieces = reader.read(object, 0..object.size).await?;
    while let Some(piece) = pieces.try_next().await? {
        let end = at + piece.len() as u64;
        while wish < object.size && wish <= end {
            let skip = usize::try_from((wish - 1).saturating_sub(at)).unwrap_or(usize::MAX);
            let Some(found) = memchr::memchr(b'\n', piece.get(skip..).unwrap_or_default()) else {
                break;
            };
            let border = at + (skip + found) as u64 + 1;
            if border < object.size {
                borders.push(border);
            }
            wish = (border / bytes + 1) * bytes;
        }
        at = end;
        if wish < object.size && at.saturating_sub(wish) > LINE_BYTES_MAX {
            return Err(long_line(object, wish));
        }
    }
    Ok(borders)
}

fn long_line(object: &Object, at: u64) -> Error {
    Error::Customer(format!(
        "params.partitioner: {:?} has a line longer than {} MiB around byte {at}; partition it by \
         bytes instead, or give it line ends",
        object.name,
        LINE_BYTES_MAX >> 20
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::data::testing::{
        RUN, WebServer, customer, folder, noise, range, reader, text, uploaded, url_source,
    };

    /// Where `bytes` must be cut: at the first start of a line at or after each multiple.
    fn expected(bytes: &[u8], every: usize) -> Vec<u64> {
        let mut borders: Vec<u64> = (every..bytes.len())
            .step_by(every)
            .map(|wish| {
                let at = bytes[wish - 1..].iter().position(|byte| *byte == b'\n');
                at.map_or(bytes.len(), |at| wish + at) as u64
            })
            .collect();
        borders.insert(0, 0);
        borders.push(bytes.len() as u64);
        borders.dedup();
        borders
    }

    /// The borders found either way; they must agree.
    async fn borders(bytes: &[u8], every: u64) -> Vec<u64> {
        let (_folder, bucket) = folder().await;
        let (reader, object) = uploaded(&bucket, bytes).await;
        let looked = look(&reader, &object, every).await.unwrap();
        let scanned = scan(&reader, &object, every).await.unwrap();
        assert_eq!(looked, scanned);
        let borders = line_borders(&reader, &object, every).await.unwrap();
        assert_eq!(borders[..looked.len()], looked);
        borders
    }

    static RUNTIME: LazyLock<tokio::runtime::Runtime> =
        LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn chunks_of_lines_end_where_lines_end_and_give_back_the_input(
            lines in proptest::collection::vec(0usize..3000, 0..60),
            last in 0usize..50,
            every in 1u64..5000,
        ) {
            let mut bytes = Vec::new();
            for len in lines {
                bytes.extend(std::iter::repeat_n(b'x', len));
                bytes.push(b'\n');
            }
            bytes.extend(std::iter::repeat_n(b'y', last));

            let (table, chunks) = RUNTIME.block_on(async {
                let (_folder, bucket) = folder().await;
                let (reader, object) = uploaded(&bucket, &bytes).await;
                let partitioner = Partitioner::Lines { bytes: every };
                let table = partition(&reader, partitioner, vec![object]).await.unwrap();
                let mut chunks = Vec::new();
                for index in 0..table.len() {
                    let chunk = table.get(index).unwrap();
                    let range = chunk.from..chunk.to;
                    chunks.push(text(reader.read(chunk.object, range).await.unwrap()).await.unwrap());
                }
                (table, chunks)
            });

            prop_assert_eq!(chunks.concat(), bytes);
            prop_assert!(chunks.iter().all(|chunk| !chunk.is_empty()));
            let inner = chunks.len().saturating_sub(1);
            prop_assert!(chunks[..inner].iter().all(|chunk| chunk.ends_with(b"\n")));
            prop_assert_eq!(table.len() as usize, chunks.len());
        }
    }

    #[tokio::test]
    async fn borders_are_right_around_every_edge() {
        for bytes in [
            &b""[..],
            b"\n",
            b"a",
            b"a\n",
            b"\n\n\n",
            b"ab\ncd\n",
            b"ab\ncd",
            b"\nabcdefgh",
            b"abcdefgh\n",
            b"abcdefgh",
            b"abc\n\n\ndef\n",
        ] {
            for every in 1..=10 {
                let found = borders(bytes, every).await;

                assert_eq!(
                    found,
                    expected(bytes, usize::try_from(every).unwrap()),
                    "{bytes:?} every {every}"
                );
            }
        }
    }

    #[tokio::test]
    async fn long_lines_are_looked_through_once_and_give_one_border() {
        let mut bytes = vec![b'x'; 3_000_000];
        bytes.push(b'\n');
        bytes.extend(noise(100_000));

        assert_eq!(borders(&bytes, 70_000).await, expected(&bytes, 70_000));
        assert_eq!(borders(&bytes, 2_999_999).await, expected(&bytes, 2_999_999));
    }

    #[tokio::test]
    async fn a_line_without_end_is_the_customers_error() {
        let (_folder, bucket) = folder().await;
        let endless = vec![b'x'; 66 << 20];
        let (reader, object) = uploaded(&bucket, &endless).await;

        let looked =
            partition(&reader, Partitioner::Lines { bytes: 1 << 16 }, vec![object.clone()]);
        assert!(customer(looked.await).contains("has a line longer than 64 MiB"));
        let scanned = partition(&reader, Partitioner::Lines { bytes: 1 << 15 }, vec![object]);
        assert!(customer(scanned.await).contains("has a line longer than 64 MiB"));
    }

    #[tokio::test]
    async fn only_what_is_near_the_borders_is_read() {
        let line = [&[b'x'; 99][..], b"\n"].concat();
        let server = WebServer::with_ranges(line.repeat(100_000)).await;
        let (_folder, bucket) = folder().await;
        let source = url_source(format!("{}/in.txt", server.url));
        let reader = reader(&bucket, &source, None).await;
        let objects = reader.resolve(RUN, &source).await.unwrap();

        let table = partition(&reader, Partitioner::Lines { bytes: 1_000_050 }, objects).await;

        assert_eq!(table.unwrap().len(), 10);
        let seen = server.seen.lock().unwrap();
        let read: usize = seen.iter().filter_map(|head| range(head)).map(|(a, b)| b - a + 1).sum();
        assert_eq!((seen.len(), read), (10, 1 + 9 * 4096));
    }

    #[tokio::test]
    async fn empty_objects_give_chunks_only_where_no_data_is_needed() {
        let (_folder, bucket) = folder().await;
        let (reader, object) = uploaded(&bucket, b"").await;
        for (partitioner, chunks) in [
            (Partitioner::Passthrough, 1),
            (Partitioner::File, 1),
            (Partitioner::Replicate { copies: 3 }, 3),
            (Partitioner::Bytes { bytes: 10 }, 0),
            (Partitioner::Lines { bytes: 10 }, 0),
        ] {
            let table = partition(&reader, partitioner, vec![object.clone()]).await.unwrap();

            assert_eq!(table.len(), chunks, "{partitioner:?}");
        }
    }

    #[tokio::test]
    async fn too_many_and_empty_chunks_are_the_customers_error() {
        let (_folder, bucket) = folder().await;
        let (reader, mut object) = uploaded(&bucket, b"x").await;
        object.size = 1 << 40;
        for partitioner in [
            Partitioner::Lines { bytes: 0 },
            Partitioner::Lines { bytes: 1 },
            Partitioner::Bytes { bytes: 0 },
            Partitioner::Bytes { bytes: 1 },
        ] {
            let table = partition(&reader, partitioner, vec![object.clone()]).await;

            assert!(customer(table).starts_with("params.partitioner"), "{partitioner:?}");
        }
    }
}
