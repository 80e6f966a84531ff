use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::data::testing::{
    S3Server, WebServer, customer, folder, noise, range, reader, resolve, text, uploaded,
    url_source,
};

/// Where `bytes` must be cut: at the first start of a line at or after each multiple.
fn expected(bytes: &[u8], every: usize) -> Vec<u64> {
    if bytes.is_empty() {
        return Vec::new();
    }
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
    borders.pop();
    borders
}

/// The starts found either way; they must agree.
async fn starts(bytes: &[u8], every: u64) -> Vec<u64> {
    let (_folder, bucket) = folder().await;
    let (reader, objects) = uploaded(&bucket, bytes).await;
    let object = objects.get(0).unwrap();
    let reads = Semaphore::new(READS_AT_ONCE);
    let lines = Lines { reader: &reader, bytes: every, reads: &reads };
    let starts = lines.starts(&object).await.unwrap();
    if !bytes.is_empty() {
        assert_eq!(lines.look(&object).await.unwrap(), starts);
        assert_eq!(lines.scan(&object).await.unwrap(), starts);
    }
    starts
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
            let (reader, objects) = uploaded(&bucket, &bytes).await;
            let partitioner = Partitioner::Lines { bytes: every };
            let table = partition(&reader, partitioner, objects).await.unwrap();
            let mut chunks = Vec::new();
            for index in 0..table.len() {
                let chunk = table.get(index).unwrap();
                let range = chunk.from..chunk.to;
                chunks.push(text(reader.read(&chunk.object, range).await.unwrap()).await.unwrap());
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
            let found = starts(bytes, every).await;

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

    assert_eq!(starts(&bytes, 70_000).await, expected(&bytes, 70_000));
    assert_eq!(starts(&bytes, 2_999_999).await, expected(&bytes, 2_999_999));
}

#[tokio::test]
async fn a_line_without_end_is_the_customers_error() {
    let (_folder, bucket) = folder().await;
    let endless = vec![b'x'; 66 << 20];
    let (reader, objects) = uploaded(&bucket, &endless).await;

    let looked = partition(&reader, Partitioner::Lines { bytes: 1 << 16 }, objects.clone());
    assert!(customer(looked.await).contains("has a line longer than 64 MiB"));
    let scanned = partition(&reader, Partitioner::Lines { bytes: 1 << 15 }, objects);
    assert!(customer(scanned.await).contains("has a line longer than 64 MiB"));
}

#[tokio::test]
async fn only_what_is_near_the_borders_is_read() {
    let line = [&[b'x'; 99][..], b"\n"].concat();
    let server = WebServer::with_ranges(line.repeat(100_000)).await;
    let (_folder, bucket) = folder().await;
    let source = url_source(format!("{}/in.txt", server.url));
    let reader = reader(&bucket, &source, None).await;
    let objects = resolve(&reader, &source).await.unwrap();

    let table = partition(&reader, Partitioner::Lines { bytes: 1_000_050 }, objects).await;

    assert_eq!(table.unwrap().len(), 10);
    let seen = server.seen.lock().unwrap();
    let read: usize = seen.iter().filter_map(|head| range(head)).map(|(a, b)| b - a + 1).sum();
    assert_eq!((seen.len(), read), (10, 1 + 9 * 4096));
}

#[tokio::test]
async fn empty_objects_give_chunks_only_where_no_data_is_needed() {
    let (_folder, bucket) = folder().await;
    let (reader, objects) = uploaded(&bucket, b"").await;
    for (partitioner, chunks) in [
        (Partitioner::Passthrough, 1),
        (Partitioner::File, 1),
        (Partitioner::Replicate { copies: 3 }, 3),
        (Partitioner::Bytes { bytes: 10 }, 0),
        (Partitioner::Lines { bytes: 10 }, 0),
    ] {
        let table = partition(&reader, partitioner, objects.clone()).await.unwrap();

        assert_eq!(table.len(), chunks, "{partitioner:?}");
    }
}

#[tokio::test]
async fn too_many_and_empty_chunks_are_the_customers_error() {
    let (_folder, bucket) = folder().await;
    let (reader, objects) = uploaded(&bucket, b"x").await;
    let object = Object { size: 1 << 40, ..objects.get(0).unwrap() };
    let objects = Objects::pack(&[object]).unwrap();
    for partitioner in [
        Partitioner::Lines { bytes: 0 },
        Partitioner::Lines { bytes: 1 },
        Partitioner::Bytes { bytes: 0 },
        Partitioner::Bytes { bytes: 1 },
    ] {
        let table = partition(&reader, partitioner, objects.clone()).await;

        assert!(customer(table).starts_with("params.partitioner"), "{partitioner:?}");
    }
}

#[tokio::test]
async fn many_files_are_cut_each_for_itself() {
    let server = S3Server::start().await;
    let files: [&[u8]; 4] = [b"one\ntwo\nthree\n", b"", b"x\n", b"four\nfive"];
    for (n, bytes) in files.iter().enumerate() {
        server.write(&format!("in/{n}"), bytes);
    }
    let (_folder, ours) = folder().await;
    let source = server.source(&["in/"]);
    let reader = reader(&ours, &source, Some(&S3Server::keys())).await;
    let cut = async |partitioner: Partitioner| {
        let objects = resolve(&reader, &source).await.unwrap();
        let table = partition(&reader, partitioner, objects).await.unwrap();
        let mut chunks = Vec::new();
        for chunk in (0..table.len()).map(|n| table.get(n).unwrap()) {
            let read = reader.read(&chunk.object, chunk.from..chunk.to).await.unwrap();
            let bytes = String::from_utf8(text(read).await.unwrap()).unwrap();
            chunks.push(format!("{}:{bytes}", chunk.object.name));
        }
        chunks
    };

    let whole = ["0:one\ntwo\nthree\n", "1:", "2:x\n", "3:four\nfive"];
    assert_eq!(cut(Partitioner::Passthrough).await, whole);
    assert_eq!(cut(Partitioner::File).await, whole);
    assert_eq!(
        cut(Partitioner::Lines { bytes: 5 }).await,
        ["0:one\ntwo\n", "0:three\n", "2:x\n", "3:four\n", "3:five"]
    );
    assert_eq!(
        cut(Partitioner::Bytes { bytes: 8 }).await,
        ["0:one\ntwo\n", "0:three\n", "2:x\n", "3:four\nfiv", "3:e"]
    );
    let twice = cut(Partitioner::Replicate { copies: 2 }).await;
    assert_eq!(twice, whole.iter().flat_map(|chunk| [*chunk, *chunk]).collect::<Vec<_>>());
}
