//! Packages and images that a disk has damaged: noticed, named, and never used as if they were
//! right. And archives of other tools, which are not damaged.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use harness::client::{COMPLETE, Client};
use harness::market::{Market, Shape};
use harness::package::Package;

const HELLO: &str = "echo hello > \"$TASK_RESULTS_DIR/out.txt\"";

async fn push(client: &Client, script: &str) -> Result<()> {
    client.push(&Package::app("app", script)).await?;
    client.template("replicate", "app", "passthrough").await
}

fn order() -> Value {
    json!({
        "templateId": "app", "name": "app",
        "dataSource": {"dataSourceDescriptor": "bypass"},
        "dataDestination": {"dataSourceDescriptor": "bucket"},
        "params": {"partitioner": {"num_replicas": 1}},
    })
}

/// The only entry of a folder.
fn only(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    ensure!(entries.len() == 1, "{entries:?}");
    Ok(entries[0].path())
}

/// Changes one bit in the middle of a file.
fn spoil(file: &Path) -> Result<()> {
    let mut bytes = fs::read(file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Ok(fs::write(file, bytes)?)
}

async fn says_hello(client: &Client) -> Result<()> {
    let id = client.start(order(), None).await?;
    client.reached(&id, COMPLETE).await?;
    let results = client.results(&id).await?;
    let only = results.values().next().context("no results")?;
    ensure!(results.len() == 1 && only == "hello\n", "{results:?}");
    Ok(())
}

#[tokio::test]
async fn damaged_package_in_the_bucket_ends_its_run_until_it_is_pushed_again() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        push(&client, HELLO).await?;
        spoil(&only(&market.server_folder().join("bucket/packages"))?)?;

        let id = client.start(order(), None).await?;
        let message = client.failure(&id).await?;

        ensure!(message.contains("the package is damaged"), "{message}");
        ensure!(message.contains("push it again"), "{message}");
        push(&client, HELLO).await?;
        says_hello(&client).await
    })
    .await
}

#[tokio::test]
async fn damaged_image_in_the_bucket_ends_its_run() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        push(&client, HELLO).await?;
        spoil(&only(&market.server_folder().join("bucket/images"))?)?;

        let id = client.start(order(), None).await?;
        let message = client.failure(&id).await?;

        ensure!(message.contains("the image is damaged"), "{message}");
        ensure!(message.contains("push it again"), "{message}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn damaged_package_on_a_nodes_disk_is_fetched_anew() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        push(&client, HELLO).await?;
        says_hello(&client).await?;
        let packages = market.node_folder(0).join("packages");
        let app = only(&packages)?.join("unpacked/app");

        for damage in [spoil as fn(&Path) -> Result<()>, |file| Ok(fs::write(file, "")?)] {
            damage(&only(&app)?)?;
            says_hello(&client).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn partitioner_may_write_tens_of_thousands_of_chunks() -> Result<()> {
    let cut =
        "i=0; while [ $i -lt 30000 ]; do echo x > \"$CHUNKS_DIR/data_$i.bin\"; i=$((i+1)); done";
    let shape = Shape::nodes(1).set("PROMOTIONAL_CREDITS", "100000");
    Market::open(shape, async |_, client| {
        client.push(&Package::partitioner("cut", cut)).await?;
        client.push(&Package::app("app", "sleep 1000")).await?;
        client.template("cut", "app", "passthrough").await?;

        let mut order = order();
        order["params"] = json!({});
        let id = client.start(order, None).await?;
        let chunks = harness::wait::until("the chunks", async || {
            let job = client.job(&id).await?;
            ensure!(job["state"] != harness::client::FAILED, "{job}");
            let n = job["numChunks"].as_u64().or_else(|| job["numChunks"].as_str()?.parse().ok());
            Ok(n.filter(|n| *n > 0))
        })
        .await?;

        ensure!(chunks == 30_000, "{chunks}");
        client.post(&format!("/v1/customer/jobs/{id}/abort"), json!({})).await?;
        Ok(())
    })
    .await
}
