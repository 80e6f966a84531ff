//! The main job: a file is cut, counted chunk by chunk, folded, and paid for.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::time::timeout;

use harness::client::{Balance, COMPLETE, Client, text};
use harness::market::{Market, Shape};
use harness::package::Package;
use harness::wait::{PATIENCE, until};

const STATES: [&str; 10] = [
    "JOB_STATE_NEW",
    "JOB_STATE_STARTED",
    "JOB_STATE_UPLOADING",
    "JOB_STATE_PARTITIONING",
    "JOB_STATE_PARTITIONED",
    "JOB_STATE_TASKS_COMPLETED",
    "JOB_STATE_MERGING",
    "JOB_STATE_MERGED",
    "JOB_STATE_DOWNLOADING",
    "JOB_STATE_COMPLETE",
];

/// Lines and words of a chunk.
const COUNT: &str = r#"
echo "counting chunk $CHUNK_NUMBER"
wc -lw < "$TASK_DIR/data.bin" > "$TASK_RESULTS_DIR/count.txt"
"#;
/// The sum over all chunks.
const SUM: &str = r#"
cat "$TASK_RESULTS_DIR"/* | awk '{l += $1; w += $2} END {print l, w}' > "$OUTPUT_DIR/total.txt"
"#;

/// A text of this many lines, each different.
pub fn sample(lines: usize) -> String {
    (0..lines).map(|n| format!("line {n} {}\n", "word ".repeat(n % 9))).collect()
}

/// Pushes the word count: `lines`, an app, and an assembler of our own.
pub async fn push_word_count(client: &Client) -> Result<()> {
    client.push(&Package::app("count", COUNT)).await?;
    client.push(&Package::assembler("sum", SUM)).await?;
    client.template("lines", "count", "sum").await
}

/// An order of a word count in chunks of this many bytes.
pub fn word_count(chunk_bytes: usize) -> Value {
    json!({
        "templateId": "count", "name": "words",
        "dataSource": {"dataSourceDescriptor": "file"},
        "dataDestination": {"dataSourceDescriptor": "bucket"},
        "params": {"partitioner": {"chunk_bytes": chunk_bytes}},
    })
}

/// What a word count of this text must give.
pub fn counted(text: &str) -> String {
    format!("{} {}\n", text.lines().count(), text.split_whitespace().count())
}

#[tokio::test]
async fn text_is_counted_in_chunks_with_the_right_answer() -> Result<()> {
    Market::open(Shape::nodes(2), async |_, client| {
        push_word_count(&client).await?;
        let input = sample(2_000);
        let before = client.balance().await?;

        let id = client.start(word_count(input.len() / 7), Some(input.as_bytes())).await?;
        let job = client.reached(&id, COMPLETE).await?;

        let results = client.results(&id).await?;
        assert_eq!(results.keys().collect::<Vec<_>>(), ["total.txt"]);
        assert_eq!(results["total.txt"], counted(&input));
        check_states(&job)?;
        check_wallet(&client, &id, before).await?;
        check_logs(&client, &id, job["numChunks"].as_u64().context("numChunks")?).await
    })
    .await
}

/// All states were passed, in their order.
fn check_states(job: &Value) -> Result<()> {
    let times = STATES.map(|state| job["stateTimestamps"][state].as_str().unwrap_or_default());
    assert!(!times.contains(&""), "{job}");
    let mut sorted = times;
    sorted.sort_by_key(|time| sortable(time));
    assert_eq!(times, sorted);
    assert!(job["numChunks"].as_u64().context("numChunks")? >= 7, "{job}");
    assert_eq!(job["errorMessage"], "");
    Ok(())
}

/// The time in a form that sorts.
fn sortable(time: &str) -> String {
    // RFC 3339 in UTC with a fraction of any length sorts once the fraction is padded.
    let plain = time.trim_end_matches('Z');
    let (seconds, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    format!("{seconds}.{fraction:0<9}")
}

/// One line for the run: the exact sum of its tasks' prices, and nothing is held any more.
async fn check_wallet(client: &Client, id: &str, before: Balance) -> Result<()> {
    let mut sum = 0;
    for stage in ["partition", "process", "assemble"] {
        let tasks = client.get(&format!("/v1/customer/jobs/{id}/tasks?stage={stage}")).await?;
        for task in tasks["tasks"].as_array().context("tasks")? {
            sum += text(&task["price"])?.parse::<common::money::credits::Credits>()?.units();
        }
    }
    let after = client.balance().await?;
    let lines = client.lines().await?;
    assert!(sum > 0);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!((lines[0].units, lines[0].description.as_str()), (-sum, "words"));
    assert_eq!(lines[0].balance, after.total);
    assert_eq!(after.total, after.available);
    assert_eq!(before.total.units() - sum, after.total.units());
    Ok(())
}

/// What each container wrote is in the logs of its task.
async fn check_logs(client: &Client, id: &str, chunks: u64) -> Result<()> {
    let logs = until("the logs of all tasks", async || {
        let logs =
            client.post("/v1/customer/logs", json!({"jobId": id, "levels": ["UNKNOWN"]})).await?;
        let tasks = logs["taskrunner"].as_object().map_or(0, serde_json::Map::len);
        Ok((tasks as u64 == chunks).then_some(logs))
    })
    .await?;
    let tasks: BTreeMap<String, Value> = serde_json::from_value(logs["taskrunner"].clone())?;
    for task in tasks.values() {
        let words = format!("counting chunk {}", task["chunkNumber"]);
        assert_eq!(task["logs"][0]["log"], words, "{task}");
        assert_eq!(task["logs"][0]["level"], "UNKNOWN");
    }
    Ok(())
}

#[tokio::test]
async fn event_stream_shows_each_state_and_each_task() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        push_word_count(&client).await?;
        let input = sample(60);
        let id = client.create(word_count(input.len() / 2)).await?;
        client.upload(&id, input.clone()).await?;

        let mut events = client.events(&id).await?;
        client.run(&id).await?;
        let mut heard = String::new();
        while !heard.contains(COMPLETE) {
            let piece = timeout(PATIENCE, events.chunk()).await??.context("the stream ended")?;
            heard.push_str(std::str::from_utf8(&piece)?);
        }

        let mut last = 0;
        for state in &STATES[1..] {
            let at = heard.find(state).with_context(|| format!("{state} in {heard}"))?;
            assert!(at > last, "{state} is out of turn: {heard}");
            last = at;
        }
        assert!(heard.contains("event: task.state") && heard.contains("event: job.progress"));
        Ok(())
    })
    .await
}
