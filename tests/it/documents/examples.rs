//! The examples for customers, each run as its reader would, by a key of its own.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use harness::client::text;
use harness::machine::python;
use harness::market::{Market, Shape};

use crate::jobs::hello_world;

/// An example waits for one short job.
const EXAMPLE_MAX: Duration = Duration::from_secs(120);

/// Runs one example with a text and gives what it prints.
async fn print(example: &Path, file: &Path, url: &str, api_key: &str) -> Result<String> {
    let running = Command::new(example)
        .arg(file)
        .env("FANFOLD_URL", url)
        .env("FANFOLD_API_KEY", api_key)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(EXAMPLE_MAX, running).await.context("it does not end")?;
    let output = output.context("start it: run scripts/setup --test")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{}\n{said}", String::from_utf8_lossy(&output.stdout));
    ensure!(said.contains("it cost 0.0"), "no price: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Opens a market with the app and lets one example be its customer.
async fn changes_the_case_of_a_text(example: &str) -> Result<()> {
    if !python::is_possible() {
        return Ok(());
    }
    let example = python::repository().join("examples").join(example);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("hello.txt");
    fs::write(&file, "read me, change my case\n")?;
    Market::open(Shape::nodes(1), async |market, client| {
        hello_world::push(market).await?;
        let key = json!({"name": "example", "scopes": ["jobs:read", "jobs:write"]});
        let key = client.post("/v1/auth/api_key", key).await?;

        let printed = print(&example, &file, &client.url, &text(&key["token"])?).await?;

        assert_eq!(printed, "Read Me, Change My Case\n");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn example_for_curl_runs_a_job_by_the_native_api() -> Result<()> {
    changes_the_case_of_a_text("curl/native.sh").await
}

#[tokio::test]
async fn example_for_curl_runs_a_job_by_the_bytenite_api() -> Result<()> {
    changes_the_case_of_a_text("curl/bytenite.sh").await
}

#[tokio::test]
async fn example_for_python_runs_a_job_by_the_native_api() -> Result<()> {
    changes_the_case_of_a_text("python/native.py").await
}

#[tokio::test]
async fn example_for_python_runs_a_job_by_the_bytenite_api() -> Result<()> {
    changes_the_case_of_a_text("python/bytenite.py").await
}
