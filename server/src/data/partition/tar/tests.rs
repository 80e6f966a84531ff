use std::io::Read as _;

use common::data::object_list::Objects;

use super::*;
use crate::data::partition::borders::{Records, cut};
use crate::data::source::Reader;
use crate::data::testing::{
    WebServer, customer, folder, range, reader, resolve, text, uploaded, url_source,
};

/// An archive of members of these sizes, some of them with names that need headers of their own.
fn archive(sizes: &[usize]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (n, size) in sizes.iter().enumerate() {
        let mut header = tar::Header::new_gnu();
        header.set_size(*size as u64);
        header.set_mode(0o644);
        let name = if n % 3 == 1 { format!("{}/{n}", "long".repeat(60)) } else { n.to_string() };
        archive.append_data(&mut header, name, &vec![b'a'; *size][..]).unwrap();
    }
    archive.into_inner().unwrap()
}

/// The names and sizes of the members of each chunk, as a reader of tar sees them.
async fn members(
    reader: &Reader,
    objects: &Objects,
    every: u64,
) -> Result<Vec<Vec<String>>, Error> {
    let (mut starts, _) = cut(reader, objects, Records::Tar, every).await?;
    let object = objects.get(0).unwrap();
    starts.push(object.size);
    let mut chunks = Vec::new();
    for pair in starts.windows(2) {
        let bytes = text(reader.read(&object, pair[0]..pair[1]).await.unwrap()).await.unwrap();
        let mut chunk = tar::Archive::new(&bytes[..]);
        let mut names = Vec::new();
        for entry in chunk.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let path = entry.path().unwrap().into_owned();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            names.push(format!("{name}:{}", content.len()));
        }
        chunks.push(names);
    }
    Ok(chunks)
}

#[tokio::test]
async fn chunks_are_archives_of_whole_members() {
    let sizes = [10, 700, 0, 40_000, 512, 1, 90_000, 3, 3, 3];
    let (_folder, bucket) = folder().await;
    let (reader, objects) = uploaded(&bucket, &archive(&sizes)).await;
    for every in [1, 600, 5_000, 50_000, 1 << 20] {
        let chunks = members(&reader, &objects, every).await.unwrap();

        let all: Vec<String> =
            sizes.iter().enumerate().map(|(n, size)| format!("{n}:{size}")).collect();
        assert_eq!(chunks.concat(), all, "{every}");
        assert!(chunks.iter().all(|chunk| !chunk.is_empty()), "{chunks:?}");
        assert_eq!(chunks.len() == 1, every > 200_000, "{every}: {chunks:?}");
    }
}

#[tokio::test]
async fn headers_alone_are_read_of_large_members() {
    let bytes = archive(&[1_000_000; 20]);
    let server = WebServer::with_ranges(bytes.clone()).await;
    let (_folder, bucket) = folder().await;
    let source = url_source(format!("{}/in.tar", server.url));
    let reader = reader(&bucket, &source, None).await;
    let objects = resolve(&reader, &source).await.unwrap();

    let (starts, _) = cut(&reader, &objects, Records::Tar, 2_000_000).await.unwrap();

    assert_eq!(starts.len(), 10);
    let seen = server.seen.lock().unwrap();
    let read: usize = seen.iter().filter_map(|head| range(head)).map(|(a, b)| b - a + 1).sum();
    assert!(read < 200_000 && seen.len() < 60, "{read} bytes in {} reads", seen.len());
}

#[tokio::test]
async fn size_in_an_extended_header_counts() {
    let mut bytes = Vec::new();
    let data = vec![b'x'; 1_500];
    for _ in 0..4 {
        let record = b"13 size=1500\n";
        let mut extended = tar::Header::new_ustar();
        extended.set_entry_type(tar::EntryType::XHeader);
        extended.set_size(record.len() as u64);
        extended.set_cksum();
        let mut header = tar::Header::new_ustar();
        header.set_path("member").unwrap();
        header.set_size(0);
        header.set_cksum();
        for part in [&extended.as_bytes()[..], record, header.as_bytes(), &data] {
            bytes.extend_from_slice(part);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
    }
    let (_folder, bucket) = folder().await;
    let (reader, objects) = uploaded(&bucket, &bytes).await;

    let (starts, _) = cut(&reader, &objects, Records::Tar, 1).await.unwrap();

    assert_eq!(starts, [0, 3_072, 6_144, 9_216]);
}

#[tokio::test]
async fn damaged_archives_are_named() {
    let (_folder, bucket) = folder().await;
    let whole = archive(&[2_000, 2_000, 2_000]);
    let mut wrong_sum = whole.clone();
    wrong_sum[2_560..2_600].fill(b'?');
    let mut too_large = tar::Header::new_gnu();
    too_large.set_path("large").unwrap();
    too_large.set_size(1 << 40);
    too_large.set_cksum();
    let too_large = [too_large.as_bytes(), &whole[..]].concat();
    for (bytes, place) in [(wrong_sum, "at byte 2560"), (too_large, "at byte 512")] {
        let (reader, objects) = uploaded(&bucket, &bytes).await;

        let text = customer(cut(&reader, &objects, Records::Tar, 10).await);

        assert!(text.contains(place), "{text}");
    }
}

#[tokio::test]
async fn what_is_no_archive_is_one_chunk() {
    let (_folder, bucket) = folder().await;
    for other in [&b"\x1f\x8b\x08 packed"[..], b"no archive at all, but some text"] {
        let (reader, objects) = uploaded(&bucket, other).await;

        let (starts, _) = cut(&reader, &objects, Records::Tar, 4).await.unwrap();

        assert_eq!(starts, [0]);
    }
}
