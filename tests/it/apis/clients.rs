//! Clients written from the published specification alone, in another language, against a market.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use harness::client::text;
use harness::machine::busybox;
use harness::market::{Market, Shape};

/// A script waits for jobs of its own for minutes at most; it never runs forever.
const SCRIPT_MAX: Duration = Duration::from_secs(300);

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Runs one script to its end; what it said is in the error where it found a difference.
async fn run(script: &str, url: &str, api_key: &str) -> Result<()> {
    let mut command = python(script);
    command
        .env("FANFOLD_URL", url)
        .env("FANFOLD_API_KEY", api_key)
        .env("IMAGE", busybox::IMAGE)
        // All differences at once, rather than one for each run.
        .env("KEEP_GOING", "1");
    finishes(script, command).await
}

fn python(script: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg("-B").arg(clients().join(script)).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn finishes(script: &str, mut command: Command) -> Result<()> {
    let output = timeout(SCRIPT_MAX, command.output()).await.context("the script hangs")??;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        bail!("{script}:\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Opens an ordinary market and lets one script be its customer.
async fn accepts(script: &str) -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        let credentials = std::fs::read(market.server_folder().join("credentials.json"))?;
        let credentials: Value = serde_json::from_slice(&credentials)?;
        run(script, &client.url, &text(&credentials["apiKey"])?).await
    })
    .await
}

/// Lets a script be the customer of another service, whose API the market has under `path`.
async fn accepts_of(script: &str, path: &str, more: &[&str]) -> Result<()> {
    let shape = Shape::nodes(1).set_nodes("NODE_ALLOW_PLAIN", "true");
    Market::open(shape, async |market, client| {
        market.push_image(busybox::IMAGE).await?;
        let credentials = std::fs::read(market.server_folder().join("credentials.json"))?;
        let credentials: Value = serde_json::from_slice(&credentials)?;
        let mut command = python(script);
        command.arg(format!("{}{path}", client.url)).arg(text(&credentials["apiKey"])?);
        command.arg(text(&credentials["workspaceId"])?).args(more);
        finishes(script, command).await
    })
    .await
}

#[tokio::test]
async fn customer_of_2025_gets_the_documented_answers() -> Result<()> {
    accepts("flow_2025.py").await
}

#[tokio::test]
async fn other_spellings_and_bodies_of_2025_have_the_same_meaning() -> Result<()> {
    accepts("variants.py").await
}

#[tokio::test]
async fn customer_of_2023_gets_the_recorded_answers() -> Result<()> {
    accepts("flow_2023.py").await
}

#[tokio::test]
async fn documented_failures_are_answered_as_documented() -> Result<()> {
    accepts("checks.py").await
}

#[tokio::test]
async fn documented_calls_that_remain_are_answered() -> Result<()> {
    accepts("tour.py").await
}

#[tokio::test]
async fn quedup_client_finds_what_its_page_says() -> Result<()> {
    accepts_of("quedup_client.py", "/compat/quedup", &[]).await
}

#[tokio::test]
async fn ejjy_client_finds_what_its_page_says() -> Result<()> {
    accepts_of("ejjy_client.py", "/compat/ejjy", &["a-project", busybox::IMAGE]).await
}
