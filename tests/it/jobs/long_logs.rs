//! Logs of more lines than the database keeps, with real containers: kill -9 of the server loses
//! no line and doubles none, wherever lines lie by then.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::books::count;
use harness::client::{Client, text};
use harness::machine::busybox;
use harness::market::{Market, Shape};
use harness::wait::{until, until_for};
use serde_json::json;

/// What is written in all: 9,000 lines of some 180 bytes.
const LINES: usize = 9_000;
/// How long it takes at most until the lines of a run that has ended are moved.
const MOVED: Duration = Duration::from_secs(120);

/// The numbers that the lines of a run begin with, page by page.
async fn numbers(client: &Client, run: &str) -> Result<Vec<usize>> {
    let (mut numbers, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/v1/runs/{run}/logs?level=container{cursor}")).await?;
        for line in page["lines"].as_array().context("lines")? {
            let text = text(&line["text"])?;
            let number = text.split(' ').next().context("a number")?;
            numbers.push(number.parse()?);
        }
        let Some(next) = page["next_cursor"].as_str() else { return Ok(numbers) };
        cursor = format!("&cursor={next}");
    }
}

/// The objects that hold lines of a run.
fn segments(market: &Market, run: &str) -> usize {
    let folder = market.server_folder().join("bucket/logs").join(run);
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[tokio::test]
async fn long_log_is_read_once_and_in_order_though_the_server_is_killed() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        let script = format!(
            "i=0; while [ $i -lt {LINES} ]; do echo $i {}; i=$((i+1)); \
             [ $((i % 500)) -ne 0 ] || sleep 0.3; done",
            "x".repeat(175)
        );
        let container = json!({"image": busybox::IMAGE, "shell": script});
        let job = client.post("/v1/jobs", json!({ "container": container })).await?;
        let job = text(&job["id"])?;
        let run = client.post(&format!("/v1/jobs/{job}/runs"), json!({})).await?;
        let run = text(&run["run"]["id"])?;

        until("some lines", async || Ok((numbers(&client, &run).await?.len() > 500).then_some(())))
            .await?;
        market.kill_server()?;
        market.start_server().await?;
        until("lines in the bucket", async || Ok((segments(market, &run) > 0).then_some(())))
            .await?;
        market.kill_server()?;
        market.start_server().await?;
        let client = market.client().await?;
        until("the end of the run", async || {
            let found = client.get(&format!("/v1/runs/{run}")).await?;
            Ok((found["state"] == "succeeded").then_some(()))
        })
        .await?;

        let expected: Vec<usize> = (0..LINES).collect();
        until("all lines", async || {
            Ok((numbers(&client, &run).await?.len() >= LINES).then_some(()))
        })
        .await?;
        let read = numbers(&client, &run).await?;
        ensure!(read == expected, "{} lines", read.len());

        until_for(MOVED, "all lines in the bucket", async || {
            let books = market.books().await?;
            let rows = count(&books, "SELECT COUNT(*) AS n FROM log_tail").await?;
            Ok((rows == 0).then_some(()))
        })
        .await?;
        ensure!(numbers(&client, &run).await? == expected);
        Ok(())
    })
    .await
}
