use proptest::prelude::*;
use tokio::sync::Semaphore;

use super::*;
use crate::data::partition::borders::{Records, cut};
use crate::data::testing::{
    WebServer, customer, folder, range, reader, resolve, uploaded, url_source,
};

/// The starts of the chunks, of which there are some.
async fn starts(bytes: &[u8], every: u64) -> Result<Vec<u64>, Error> {
    let (_folder, bucket) = folder().await;
    let (reader, objects) = uploaded(&bucket, bytes).await;
    let (starts, counts) = cut(&reader, &objects, Records::Csv, every).await?;
    assert_eq!(counts, [u32::try_from(starts.len()).unwrap()]);
    Ok(starts)
}

/// What one pass and many looks find; the second where they can tell.
async fn both_ways(bytes: &[u8], every: u64) -> (Vec<u64>, Option<Vec<u64>>) {
    let (_folder, bucket) = folder().await;
    let (reader, objects) = uploaded(&bucket, bytes).await;
    let (object, reads) = (objects.get(0).unwrap(), Semaphore::new(4));
    let borders = Borders { reader: &reader, bytes: every, reads: &reads };
    let csv = Csv { borders, object: &object, dialect: Dialect::of(bytes) };
    let wishes = (1..object.size.div_ceil(every)).map(|n| n * every);
    let looked = borders.look(&object, wishes, |wish| csv.record_start(wish)).await.unwrap();
    (csv.scan().await.unwrap(), looked.ok())
}

/// A table of notes, some of them in quotes, and where its records begin.
fn table(notes: &[(String, bool)]) -> (String, Vec<u64>) {
    let (mut file, mut starts) = ("number;note;\r\n".to_owned(), vec![0]);
    for (n, (note, quoted)) in notes.iter().enumerate() {
        starts.push(file.len() as u64);
        let note = if *quoted || note.contains(['"', ';', '\n', '\r']) {
            format!("\"{}\"", note.replace('"', "\"\""))
        } else {
            note.clone()
        };
        file.push_str(&format!("{n};{note};\r\n"));
    }
    (file, starts)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn records_are_never_divided_whichever_way_their_ends_are_found(
        notes in proptest::collection::vec(("[a-d;,\"\n ]{0,40}", any::<bool>()), 1..60),
        every in 1u64..400,
    ) {
        let (file, records) = table(&notes);
        let runtime = tokio::runtime::Runtime::new().unwrap();

        let (scanned, looked) = runtime.block_on(both_ways(file.as_bytes(), every));

        prop_assert!(scanned.iter().all(|start| records.contains(start)));
        let wish = |from: &u64| scanned.iter().filter(|start| *start <= from).count();
        prop_assert!(scanned.len() == 1 || wish(&(every * 2 + 200)) > 1 || file.len() < 500);
        if let Some(looked) = looked {
            prop_assert_eq!(looked, scanned);
        }
    }
}

#[tokio::test]
async fn large_tables_are_cut_with_few_small_reads() {
    let notes: Vec<_> =
        (0..40_000).map(|n| (format!("one, \"two\"\nand {n} more\n\n"), n % 3 == 0)).collect();
    let (file, records) = table(&notes);
    let server = WebServer::with_ranges(file.clone().into_bytes()).await;
    let (_folder, bucket) = folder().await;
    let source = url_source(format!("{}/in.csv", server.url));
    let reader = reader(&bucket, &source, None).await;
    let objects = resolve(&reader, &source).await.unwrap();

    let (starts, _) = cut(&reader, &objects, Records::Csv, 200_000).await.unwrap();

    assert_eq!(starts.len(), file.len().div_ceil(200_000));
    assert!(starts.iter().all(|start| records.contains(start)));
    let seen = server.seen.lock().unwrap();
    let read: usize = seen.iter().filter_map(|head| range(head)).map(|(a, b)| b - a + 1).sum();
    assert!(read < file.len() / 4, "{read} of {}", file.len());
}

#[tokio::test]
async fn table_without_any_quote_is_cut_with_small_reads() {
    let file = format!("a,b,c\n{}", "17,some words,2026-01-01\n".repeat(20_000));

    let (scanned, looked) = both_ways(file.as_bytes(), 100_000).await;

    assert_eq!((scanned.len(), looked.as_ref()), (5, Some(&scanned)));
}

#[tokio::test]
async fn record_of_ten_mebibytes_in_the_middle_is_one_chunk() {
    let notes = [
        ("short".to_owned(), false),
        ("a line, \"quoted\"\n".repeat(500_000), true),
        ("short".to_owned(), false),
        ("long enough\n".repeat(30_000), true),
    ];
    let (file, records) = table(&notes);

    let starts = starts(file.as_bytes(), 100_000).await.unwrap();

    assert_eq!(starts, [0, records[3], records[4]][..starts.len()], "of {records:?}");
    assert!(starts.len() > 1);
}

#[tokio::test]
async fn quotes_that_break_the_rules_cost_a_pass_and_divide_no_record() {
    let file = "size,what\n".to_owned() + &"6\" pipe,\"of\nsteel\"\n".repeat(20_000);

    let starts = starts(file.as_bytes(), 70_000).await.unwrap();

    let is_record = |start: &&u64| file[usize::try_from(**start).unwrap()..].starts_with("6\"");
    assert_eq!((starts.len(), starts.iter().skip(1).filter(is_record).count()), (6, 5));
}

#[tokio::test]
async fn quote_that_is_never_closed_is_the_customers_error() {
    let file = ["a,b\n1,\"", &"never closed\n".repeat(6 << 20)].concat();

    let text = customer(starts(file.as_bytes(), 1 << 20).await);

    assert!(text.contains("has no record that ends in 64 MiB"), "{text}");
}

#[tokio::test]
async fn wide_characters_are_refused_and_packed_files_are_one_chunk() {
    let wide: Vec<u8> =
        "\u{feff}a,b\n".repeat(50).encode_utf16().flat_map(u16::to_le_bytes).collect();

    assert!(customer(starts(&wide, 10).await).contains("store it as UTF-8"));
    assert_eq!(starts(b"\x1f\x8b\x08 and so on", 4).await.unwrap(), [0]);
}
