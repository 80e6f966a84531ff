use std::sync::LazyLock;

use common::data::object_list::Object;
use proptest::prelude::*;

use super::*;
use crate::data::testing::{S3Server, customer, folder, reader, resolve, text, uploaded};

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn chunks_of_lines_end_at_line_ends_and_concatenate_to_the_input(
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
        // Without any line it would be refused.
        prop_assume!(bytes.contains(&b'\n') || bytes.len() as u64 <= every);

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
async fn chunks_that_are_too_many_or_empty_are_the_customers_error() {
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
async fn files_are_each_cut_separately() {
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
