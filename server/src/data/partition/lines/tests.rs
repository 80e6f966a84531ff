use super::*;
use tokio::sync::Semaphore;

use crate::data::partition::borders::{Records, cut};
use crate::data::testing::{
    WebServer, customer, folder, noise, range, reader, resolve, text, uploaded, url_source,
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
    let reads = Semaphore::new(4);
    let borders = Borders { reader: &reader, bytes: every, reads: &reads };
    let starts = borders.starts(&object, Records::Lines).await.unwrap();
    if !bytes.is_empty() {
        let lines = Lines { borders, object: &object };
        assert_eq!(lines.look(LineEnd::Lf).await.unwrap(), Ok(starts.clone()));
        assert_eq!(lines.scan(LineEnd::Lf).await.unwrap(), Ok(starts.clone()));
    }
    starts
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
async fn long_lines_are_read_once_and_give_one_border() {
    let mut bytes = vec![b'x'; 3_000_000];
    bytes.push(b'\n');
    bytes.extend(noise(100_000));

    assert_eq!(starts(&bytes, 70_000).await, expected(&bytes, 70_000));
    assert_eq!(starts(&bytes, 2_999_999).await, expected(&bytes, 2_999_999));
}

#[tokio::test]
async fn line_without_an_end_is_the_customers_error() {
    let (_folder, bucket) = folder().await;
    let endless = vec![b'x'; 66 << 20];
    let (reader, objects) = uploaded(&bucket, &endless).await;

    let looked = cut(&reader, &objects, Records::Lines, 1 << 16);
    assert!(customer(looked.await).contains("has a line longer than 64 MiB"));
    let scanned = cut(&reader, &objects, Records::Lines, 1 << 15);
    assert!(customer(scanned.await).contains("has a line longer than 64 MiB"));
}

#[tokio::test]
async fn reads_are_limited_to_the_surroundings_of_borders() {
    let line = [&[b'x'; 99][..], b"\n"].concat();
    let server = WebServer::with_ranges(line.repeat(100_000)).await;
    let (_folder, bucket) = folder().await;
    let source = url_source(format!("{}/in.txt", server.url));
    let reader = reader(&bucket, &source, None).await;
    let objects = resolve(&reader, &source).await.unwrap();

    let (starts, _) = cut(&reader, &objects, Records::Lines, 1_000_050).await.unwrap();

    assert_eq!(starts.len(), 10);
    let seen = server.seen.lock().unwrap();
    let read: usize = seen.iter().filter_map(|head| range(head)).map(|(a, b)| b - a + 1).sum();
    assert_eq!((seen.len(), read), (12, 2 + 10 * 4096));
}

/// The chunks of an uploaded file.
async fn chunks(bytes: &[u8], every: u64) -> Result<Vec<Vec<u8>>, Error> {
    let (_folder, bucket) = folder().await;
    let (reader, objects) = uploaded(&bucket, bytes).await;
    let (mut starts, counts) = cut(&reader, &objects, Records::Lines, every).await?;
    assert_eq!(counts, [u32::try_from(starts.len()).unwrap()]);
    starts.push(bytes.len() as u64);
    let object = objects.get(0).unwrap();
    let mut chunks = Vec::new();
    for pair in starts.windows(2) {
        let read = reader.read(&object, pair[0]..pair[1]).await.unwrap();
        chunks.push(text(read).await.unwrap());
    }
    Ok(chunks)
}

#[tokio::test]
async fn lines_of_wide_characters_are_cut_between_characters() {
    let lines: String = (0..20_000).map(|n| format!("{n};上海\u{0a00}x\n")).collect();
    let marked = format!("\u{feff}{lines}");
    let utf16 =
        |order: fn(u16) -> [u8; 2]| marked.encode_utf16().flat_map(order).collect::<Vec<_>>();
    let utf32 = |order: fn(u32) -> [u8; 4]| {
        marked.chars().map(u32::from).flat_map(order).collect::<Vec<_>>()
    };
    for (bytes, end) in [
        (utf16(u16::to_le_bytes), &b"\n\0"[..]),
        (utf16(u16::to_be_bytes), b"\0\n"),
        (utf32(u32::to_le_bytes), b"\n\0\0\0"),
        (utf32(u32::to_be_bytes), b"\0\0\0\n"),
    ] {
        // Both ways, and borders that lie within a character.
        for every in [10_001, 70_003] {
            let chunks = chunks(&bytes, every).await.unwrap();

            assert!(chunks.len() > 2);
            assert!(chunks.iter().all(|chunk| chunk.len() % end.len() == 0));
            assert!(chunks.iter().all(|chunk| chunk.ends_with(end)), "{end:?} {every}");
            assert!(chunks.concat() == bytes);
        }
    }
}

#[tokio::test]
async fn lines_that_end_with_a_carriage_return_alone_are_cut_there() {
    let bytes = "one line of a file of an old Mac\r".repeat(5_000).into_bytes();
    for every in [20_000, 70_000] {
        let chunks = chunks(&bytes, every).await.unwrap();

        assert!(chunks.len() > 1 && chunks.iter().all(|chunk| chunk.ends_with(b"\r")));
    }
    // Where there are line feeds, a carriage return is a character like others.
    let log = "\rstep 1\rstep 2\rdone\n".repeat(5_000).into_bytes();
    let chunks = chunks(&log, 20_000).await.unwrap();
    assert!(chunks.iter().all(|chunk| chunk.ends_with(b"done\n")));
}

#[tokio::test]
async fn line_feed_at_the_very_end_makes_no_lines_of_carriage_returns() {
    for end in ["\n", "\r\n"] {
        let bytes = format!("{}last{end}", "an old Mac's line\r".repeat(9_000)).into_bytes();
        for every in [10_000, 70_000] {
            let chunks = chunks(&bytes, every).await.unwrap();

            assert!(chunks.concat() == bytes && chunks.len() > 1);
            let (last, inner) = chunks.split_last().unwrap();
            assert!(last.ends_with(end.as_bytes()) && last.len() > 2);
            assert!(inner.iter().all(|chunk| chunk.ends_with(b"\r")));
        }
        let line = format!("{}{end}", "x".repeat(90_000)).into_bytes();
        assert!(chunks(&line, 10_000).await.unwrap() == [line], "it has one line");
    }
}

#[tokio::test]
async fn file_without_line_ends_is_named() {
    for bytes in [vec![b'x'; 100_000], b"\xff\xfex\0\n".repeat(20_000)] {
        for every in [20_000, 70_000] {
            let text = customer(chunks(&bytes, every).await);

            assert!(text.contains("\"in.txt\" has no line ends"), "{text}");
        }
    }
    // One long line has one.
    for ends in [[vec![b'x'; 100_000], b"\n".to_vec()].concat(), b"a\n".to_vec()] {
        assert_eq!(chunks(&ends, 20_000).await.unwrap().len(), 1);
    }
    let last = [b"short\n".to_vec(), vec![b'x'; 100_000]].concat();
    assert_eq!(chunks(&last, 20_000).await.unwrap().len(), 1);
}

#[tokio::test]
async fn packed_files_are_one_chunk() {
    for magic in [&b"\x1f\x8b\x08"[..], b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"PAR1\0"] {
        let bytes = [magic, &noise(200_000)].concat();
        for every in [20_000, 70_000] {
            assert_eq!(chunks(&bytes, every).await.unwrap().len(), 1);
        }
    }
}
