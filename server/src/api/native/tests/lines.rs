//! Lines of logs, page by page, wherever they lie.

use chrono::{DateTime, TimeDelta, Utc};
use common::ids::RunId;
use common::protocol::{Level, LogLine, Stream};
use common::testing::process;
use serde_json::Value;

use crate::api::testing::TestServer;
use crate::clock;
use crate::logs::compactor::compact;
use crate::store::logs::{Batch, tail};
use crate::store::testing::runs_of;

/// Lines of a task, ten seconds apart from a time on.
fn batch(run: RunId, number: i64, index: u32, first: u32, from: DateTime<Utc>) -> Batch {
    let line = |n: u32| LogLine {
        at_us: (from + TimeDelta::seconds((10 * n).into())).timestamp_micros(),
        level: Level::Unknown,
        stream: Stream::Out,
        text: format!("{index}.{n}"),
    };
    let lines = (first..first + 10).map(line).collect();
    Batch { number, lease: process(run, index, 1), first, lines }
}

/// A run with lines of two tasks, of which most are in the bucket, and those in the order of their
/// times.
async fn run_with_lines(server: &TestServer) -> (RunId, Vec<String>) {
    let job = server.running_job().await.parse().unwrap();
    let (db, data) = (&server.app.db, &server.app.data);
    let run = runs_of(db, server.workspace, job).await[0].id;
    let from = clock::now() - TimeDelta::minutes(30);
    let later = from + TimeDelta::seconds(5);
    for (number, index, first) in [(1, 0, 0), (2, 1, 0), (3, 1, 10), (4, 0, 10), (5, 0, 20)] {
        let from = if index == 0 { from } else { later };
        tail::insert(db, &[batch(run, number, index, first, from)]).await.unwrap();
        if number % 2 == 0 {
            compact(db, data, run).await.unwrap();
        }
    }
    let both = (0..20).flat_map(|n| [format!("0.{n}"), format!("1.{n}")]);
    (run, both.chain((20..30).map(|n| format!("0.{n}"))).collect())
}

fn texts(page: &Value, field: &str) -> Vec<String> {
    let lines = page["lines"].as_array().unwrap().iter();
    lines.map(|line| line[field].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn lines_are_paged_from_the_newest_to_the_oldest_and_each_comes_once() {
    let server = TestServer::open().await;
    let (run, expected) = run_with_lines(&server).await;

    for limit in [1, 7, 50, 1_000] {
        let (mut read, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/runs/{run}/lines?limit={limit}{cursor}");
            let (status, page) = server.get(&path).await;
            assert_eq!(status, 200, "{page}");
            read.splice(0..0, texts(&page, "text"));
            assert_eq!(page["is_cut"], !page["next_cursor"].is_null());
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }

        assert_eq!(read, expected, "{limit}");
    }
    let (_, some) = server.get(&format!("/v1/runs/{run}/lines?contains=1.1&limit=3")).await;
    assert_eq!(texts(&some, "text"), ["1.17", "1.18", "1.19"]);
    let (status, wrong) = server.get(&format!("/v1/runs/{run}/lines?cursor=x")).await;
    assert!(status == 400 && wrong.to_string().contains("cursor"), "{wrong}");
}

#[tokio::test]
async fn log_of_a_run_is_in_the_order_in_which_it_came() {
    let server = TestServer::open().await;
    let (run, _) = run_with_lines(&server).await;

    let (_, page) = server.get(&format!("/v1/runs/{run}/logs")).await;

    let task = |index, lines: std::ops::Range<u32>| lines.map(move |n| format!("{index}.{n}"));
    let came = task(0, 0..10).chain(task(1, 0..20)).chain(task(0, 10..30));
    assert_eq!(texts(&page, "text"), came.collect::<Vec<_>>());
    assert_eq!(page["next_cursor"], Value::Null);
    let (_, one) = server.get(&format!("/v1/runs/{run}/logs?task=1")).await;
    assert_eq!(texts(&one, "text"), task(1, 0..20).collect::<Vec<_>>());
    let (status, whole) = server.get(&format!("/v1/runs/{run}/logs/download")).await;
    let said = whole.as_str().unwrap().lines().map(|line| line.rsplit(' ').next().unwrap());
    assert_eq!(
        (status, said.collect::<Vec<_>>()),
        (200, texts(&page, "text").iter().map(String::as_str).collect())
    );
}
