//! The job files of `templates/workflows`, run as they are on a real node.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use harness::client::{Client, text};
use harness::machine::{busybox, python};
use harness::market::{Market, Shape};
use harness::services::receiver::Receiver;
use serde_json::{Value, json};

/// The image that the files name; any with a shell will do.
const IMAGE: &str = "alpine:3";
const FREQUENCIES: &str = "word-frequencies.yaml";

/// What each file gives.
const OUTPUTS: [(&str, &str); 11] = [
    ("sequence.yaml", "HELLO, WORLD"),
    ("parallel.yaml", "3 words of 11 letters"),
    ("each.yaml", r#"["3","5","7"]"#),
    ("conditions.yaml", "a quick look"),
    ("graph.yaml", "first a,1, sum 6"),
    ("before-and-then.yaml", "5 bytes"),
    ("retries.yaml", "fetched"),
    ("sub-job.yaml", "0. Oslo: 4, 1. Lima: 4"),
    ("service.yaml", "a page of the service"),
    ("call.yaml", "42: ok"),
    (FREQUENCIES, "4 fish\n1 blue\n1 one\n"),
];

fn folder() -> PathBuf {
    python::repository().join("templates/workflows")
}

/// A job file with the image of the tests, as JSON.
fn read(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path)?.replace(IMAGE, busybox::IMAGE);
    let work = common::order::workflow::WorkflowWork::read(&text)?;
    Ok(serde_json::to_value(work.file())?)
}

/// Runs a job file to its end, and gives its run.
async fn run(client: &Client, file: &Value) -> Result<Value> {
    let job = client.post("/v1/jobs", json!({ "workflow": file })).await?;
    let path = format!("/v1/jobs/{}/runs", text(&job["id"])?);
    let run = text(&client.post(&path, json!({})).await?["run"]["id"])?;
    let ended = client.get(&format!("/v1/runs/{run}?wait=60")).await?;
    ensure!(ended["state"] == "succeeded", "{file}: {ended}");
    Ok(ended)
}

#[tokio::test]
async fn examples_of_workflows_give_what_they_say() -> Result<()> {
    let receiver = Receiver::open().await?;
    Market::open(Shape::nodes(1), async |_, client| {
        let mut files: Vec<String> = Vec::new();
        for entry in fs::read_dir(folder())? {
            let name = entry?.file_name().into_string().ok().context("a plain name")?;
            files.extend(Some(name).filter(|name| name.ends_with(".yaml")));
        }
        ensure!(files.len() == OUTPUTS.len(), "{files:?}");
        for (name, expected) in OUTPUTS {
            let mut file = read(&folder().join(name)).context(name)?;
            if name == "call.yaml" {
                file["inputs"]["url"] = json!(format!("{}/done", receiver.url));
            }

            let ended = run(&client, &file).await.context(name)?;

            ensure!(ended["output"] == expected, "{name}: {ended}");
        }
        let told = receiver.received("/done");
        ensure!(told.len() == 1 && told[0].body == r#"{"result": 42}"#, "{told:?}");
        frequencies_of_the_guide(&client).await
    })
    .await
}

/// The same over the pages of the guide, compared with a count of the test's own.
async fn frequencies_of_the_guide(client: &Client) -> Result<()> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(python::repository().join("docs/guide"))? {
        texts.push(fs::read_to_string(entry?.path())?);
    }
    ensure!(texts.len() > 10, "only {} pages", texts.len());
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for text in &texts {
        for word in text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty()) {
            *counts.entry(word.to_ascii_lowercase()).or_default() += 1;
        }
    }
    let mut sorted: Vec<(usize, &String)> = counts.iter().map(|(word, n)| (*n, word)).collect();
    sorted.sort_by_key(|(n, word)| (usize::MAX - n, *word));
    let lines = |part: &[(usize, &String)]| -> String {
        part.iter().map(|(n, word)| format!("{n} {word}\n")).collect()
    };
    let mut file = read(&folder().join(FREQUENCIES))?;
    file["inputs"] = json!({ "texts": serde_json::to_string(&texts)?, "top": "20" });

    let ended = run(client, &file).await?;

    ensure!(text(&ended["output"])? == lines(&sorted[..20]), "{ended}");
    let results = client.get(&format!("/v1/runs/{}/results", text(&ended["id"])?)).await?;
    let size = results["files"][0]["size"].as_u64().context("a size")?;
    ensure!(size == lines(&sorted).len() as u64, "{results}");
    Ok(())
}
