//! Logs in both places where they lie.

use bytes::Bytes;
use common::ids::RunId;
use common::protocol::{Level, LogLine, Stream};
use common::run::task::StageNo;
use common::testing::{PROCESS, process};
use futures::{StreamExt as _, stream};
use uuid::Uuid;

use super::compactor::compact;
use super::reader::Logs;
use super::segment;
use super::testing::open_data;
use crate::data::bucket::blob_key::BlobKey;
use crate::store::logs::{Batch, Filter, segments, tail};
use crate::store::testing::databases;

const LINES: u32 = 150;

/// A batch of 150 KB of one of three tasks.
fn batch(run: RunId, number: i64) -> Batch {
    let n = u32::try_from(number).unwrap();
    let line = |i: u32| LogLine {
        at_us: number * 1_000 + i64::from(i),
        level: Level::Unknown,
        stream: Stream::Out,
        text: format!("{number}.{i} {}", "x".repeat(1_000)),
    };
    let lines = (0..LINES).map(line).collect();
    Batch { number, lease: process(run, n % 3, 1), first: n / 3 * LINES, lines }
}

async fn read(logs: Logs<'_>, run: RunId, filter: Filter<'_>, after: Option<i64>) -> Vec<Batch> {
    let (mut scan, mut all) = (logs.scan(run, filter, after), Vec::new());
    while let Some(batches) = scan.next().await.unwrap() {
        all.extend(batches);
    }
    all
}

#[tokio::test]
async fn each_line_is_read_once_and_in_order_wherever_it_lies() {
    for fresh in databases().await {
        let (db, folder) = (&fresh.db, tempfile::tempdir().unwrap());
        let data = &open_data(db, folder.path()).await;
        let (run, other) = (RunId::new(Uuid::now_v7()), RunId::new(Uuid::now_v7()));
        let logs = Logs { db, data };
        let all: Vec<Batch> = (1..=20).map(|number| batch(run, number)).collect();
        let of_task = |index| {
            let of = all.iter().filter(move |batch| batch.lease.task.index == index);
            of.cloned().collect::<Vec<_>>()
        };
        tail::insert(db, &all).await.unwrap();
        tail::insert(db, &[batch(other, 30)]).await.unwrap();
        let whole = Filter::default();
        assert_eq!(read(logs, run, whole, None).await, all, "{}", fresh.name);

        compact(db, data, run).await.unwrap();
        let later = batch(run, 40);
        tail::insert(db, std::slice::from_ref(&later)).await.unwrap();

        assert_eq!(logs.tail(run, 0).await.unwrap(), std::slice::from_ref(&later));
        assert_eq!(segments::after(db, run, 0, 10).await.unwrap().len(), 4, "{}", fresh.name);
        let with_later = [&all[..], std::slice::from_ref(&later)].concat();
        assert_eq!(read(logs, run, whole, None).await, with_later);
        assert_eq!(read(logs, run, whole, Some(9)).await, with_later[9..]);
        let one = Filter { stages: &[PROCESS], tasks: &[2] };
        assert_eq!(read(logs, run, one, None).await, of_task(2));
        let none = Filter { stages: &[StageNo::new(9)], tasks: &[] };
        assert_eq!(read(logs, run, none, None).await, []);
        assert_eq!(logs.find(run, 13).await.unwrap().as_ref(), all.get(12));
        assert_eq!(logs.find(run, 40).await.unwrap(), Some(later));
        assert_eq!(logs.find(run, 35).await.unwrap(), None);
        assert_eq!(read(logs, other, whole, None).await.len(), 1, "{}", fresh.name);
    }
}

#[tokio::test]
async fn move_that_is_killed_after_its_object_loses_and_doubles_nothing() {
    for fresh in databases().await {
        let (db, folder) = (&fresh.db, tempfile::tempdir().unwrap());
        let data = &open_data(db, folder.path()).await;
        let run = RunId::new(Uuid::now_v7());
        let logs = Logs { db, data };
        let mut all = vec![batch(run, 1)];
        tail::insert(db, &all).await.unwrap();
        let (segment, object) = segment::make(run, 0, all.clone()).unwrap();
        let key = BlobKey::Log { run, seq: 0, digest: segment.digest };
        data.put(&key, stream::iter([Ok(Bytes::from(object))]).boxed()).await.unwrap();
        all.push(batch(run, 2));
        tail::insert(db, &all[1..]).await.unwrap();
        assert_eq!(read(logs, run, Filter::default(), None).await, all);

        compact(db, data, run).await.unwrap();

        assert_eq!(read(logs, run, Filter::default(), None).await, all, "{}", fresh.name);
        assert!(!segments::is_named(db, run, 0, segment.digest).await.unwrap());
        let named = segments::after(db, run, 0, 10).await.unwrap();
        assert!(segments::is_named(db, run, 0, named[0].digest).await.unwrap());
        assert_eq!((named.len(), named[0].numbers), (1, (1, 2)));
    }
}
