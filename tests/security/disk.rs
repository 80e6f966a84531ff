//! The disk of a node's owner: what tasks write, fetch and hold stays within what was lent.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use harness::client::{COMPLETE, Client, FAILED};
use harness::market::{Market, Shape};
use harness::package::Package;
use harness::say::say;
use harness::wait::until;

fn order(template: &str) -> Value {
    json!({
        "templateId": template, "name": template,
        "dataSource": {"dataSourceDescriptor": "bypass"},
        "dataDestination": {"dataSourceDescriptor": "bucket"},
    })
}

/// A package that asks for one GiB of disk.
fn package(name: &'static str, script: &str) -> Package {
    let needs = json!({"min_cpu": 1, "min_memory": 1, "min_disk": 1});
    Package::app(name, script).with("device_requirements", needs)
}

/// Runs one task of a package and gives its job.
async fn start(client: &Client, package: &Package) -> Result<String> {
    client.push(package).await?;
    client.template("passthrough", package.name, "passthrough").await?;
    client.start(order(package.name), None).await
}

#[tokio::test]
async fn unlinked_files_count_as_written() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        let hoard = package(
            "hoard",
            "for n in 3 4 5; do
               eval \"exec $n<> $TASK_RESULTS_DIR/x\"; rm $TASK_RESULTS_DIR/x
               fallocate -l 450000000 /proc/self/fd/$n
             done
             sleep 6; echo held",
        );

        let id = start(&client, &hoard).await?;
        let message = client.failure(&id).await?;

        ensure!(message.contains("disk space"), "{message}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn cache_stays_within_the_nodes_limit() -> Result<()> {
    // A quarter of the node's disk is for what is kept.
    Market::open(Shape::nodes(1).set("NODE_DISK", "2"), async |market, client| {
        let hoard = package(
            "hoard",
            "for n in 1 2 3; do fallocate -l 300000000 $USER_CACHE_DIR/$n; done; sleep 8",
        );

        let id = start(&client, &hoard).await?;
        let message = client.failure(&id).await?;

        ensure!(message.contains("its workspace's cache"), "{message}");
        let caches = market.node_folder(0).join("caches/users");
        until("the cache to be cleared", async || {
            let output = std::process::Command::new("du").arg("-sk").arg(&caches).output()?;
            let said = String::from_utf8(output.stdout)?;
            let kib: u64 = said.split_whitespace().next().unwrap_or("0").parse()?;
            Ok((kib < 1024).then_some(()))
        })
        .await
    })
    .await
}

/// Starts a job and waits until `explain` says this of it.
async fn is_explained(client: &Client, package: &Package, why: &str) -> Result<()> {
    let id = start(client, package).await?;
    until(why, async || {
        let explained = client.get(&format!("/v1/customer/jobs/{id}/explain")).await?;
        Ok(explained["reasons"].to_string().contains(why).then_some(()))
    })
    .await?;
    let job = client.job(&id).await?;
    ensure!(job["errorMessage"].as_str().is_some_and(|told| told.contains(why)), "{job}");
    Ok(())
}

#[tokio::test]
async fn node_that_lends_too_little_disk_gets_no_task() -> Result<()> {
    Market::open(Shape::nodes(1).set("NODE_DISK", "1"), async |_, client| {
        is_explained(&client, &package("large", "true"), "1 of 1 nodes are without 1 GiB of disk")
            .await
    })
    .await
}

#[tokio::test]
async fn task_does_not_start_below_the_owners_minimum_of_free_space() -> Result<()> {
    let full = Shape::nodes(1).set("NODE_KEEP_FREE", "1000000");
    Market::open(full, async |_, client| {
        is_explained(&client, &package("any", "true"), "1 of 1 nodes are without 1 GiB of disk")
            .await
    })
    .await
}

#[tokio::test]
async fn task_within_its_requested_disk_is_not_stopped() -> Result<()> {
    Market::open(Shape::nodes(1).set("NODE_DISK", "2"), async |_, client| {
        let modest = package(
            "modest",
            "fallocate -l 300000000 $TASK_RESULTS_DIR/scratch; rm $TASK_RESULTS_DIR/scratch
             fallocate -l 300000000 $USER_CACHE_DIR/own; echo done > $TASK_RESULTS_DIR/out; sleep 3",
        );

        let id = start(&client, &modest).await?;
        client.reached(&id, COMPLETE).await?;

        ensure!(client.results(&id).await?["out"] == "done\n");
        Ok(())
    })
    .await
}

/// The bytes of all files below a folder, as the disk counts them.
fn written(folder: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;

    let (mut bytes, mut folders) = (0, vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                Ok(meta) => bytes += meta.blocks() * 512,
                Err(_) => {}
            }
        }
    }
    bytes
}

#[tokio::test]
async fn fast_writer_does_not_get_far_beyond_its_limit() -> Result<()> {
    const GIB: u64 = 1 << 30;
    Market::open(Shape::nodes(1), async |market, client| {
        let flood = package(
            "flood",
            "i=0; while :; do
               dd if=/dev/zero of=$TASK_RESULTS_DIR/$i bs=1M count=100 2>/dev/null; i=$((i + 1))
             done",
        );

        let id = start(&client, &flood).await?;
        let mut most = 0;
        while client.job(&id).await?["state"] != FAILED {
            most = most.max(written(&market.node_folder(0).join("work")));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }

        let message = client.failure(&id).await?;
        ensure!(message.contains("disk space"), "{message}");
        say(format_args!("{} MiB of 1024 were written", most >> 20));
        ensure!(most < 3 * GIB, "{most} bytes were written");
        Ok(())
    })
    .await
}
