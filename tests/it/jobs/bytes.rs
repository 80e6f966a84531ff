//! Bytes that rot on their way to a node, and which file a chunk is of.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::jobs::main_job::sample;
use harness::client::{COMPLETE, Client};
use harness::market::{Market, Shape};
use harness::package::Package;
use harness::services::s3::S3;
use harness::services::web;
use harness::wait::until;

const COPY: &str = r#"cat "$TASK_DIR/data.bin" > "$TASK_RESULTS_DIR/part.txt""#;
const KEYS: &str = r#"echo "$CHUNK_NUMBER|$CHUNK_NAME|$CHUNK_KEY" > "$TASK_RESULTS_DIR/key""#;

async fn push(client: &Client, partitioner: &str, script: &str, assembler: &str) -> Result<()> {
    client.push(&Package::app("app", script)).await?;
    client.template(partitioner, "app", assembler).await
}

fn order(source: Value, params: Value) -> Value {
    let mut order = json!({
        "templateId": "app", "name": "bytes",
        "dataDestination": {"dataSourceDescriptor": "bucket"},
    });
    order["dataSource"] = source;
    order["params"]["partitioner"] = params;
    order
}

/// All files below a folder that are as long as this.
fn files(folder: &Path, len: usize) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let meta = fs::metadata(&path)?;
        if meta.is_dir() {
            found.extend(files(&path, len)?);
        } else if meta.len() == len as u64 {
            found.push(path);
        }
    }
    Ok(found)
}

/// Changes one bit of the only file of this length.
fn spoil(folder: &Path, len: usize, at: usize) -> Result<()> {
    let found = files(folder, len)?;
    let [file] = &found[..] else { anyhow::bail!("{found:?}") };
    let mut bytes = fs::read(file)?;
    bytes[at] ^= 1;
    Ok(fs::write(file, bytes)?)
}

/// The node that would read the chunks comes only after the file has rotted.
#[tokio::test]
async fn byte_damaged_between_the_cut_and_the_read_fails_its_chunk_by_name() -> Result<()> {
    Market::open(Shape::nodes(0), async |market, client| {
        push(&client, "lines", COPY, "concat").await?;
        let input = sample(20_000);
        let params = json!({"chunk_bytes": input.len() / 4});
        let url = format!("{}/in.txt", web::serve(input.clone()).await?);
        let upload = json!({"dataSourceDescriptor": "file", "params": {"name": "in.txt"}});
        let copied = json!({"dataSourceDescriptor": "url", "params": {"url": url}});
        let mut ids = Vec::new();
        for (source, upload) in [(upload, Some(input.as_bytes())), (copied, None)] {
            let id = client.start(order(source, params.clone()), upload).await?;
            until("the cut", async || {
                let job = client.job(&id).await?;
                ensure!(job["endedAt"].is_null(), "{job}");
                Ok((job["numChunks"].as_u64() >= Some(4)).then_some(()))
            })
            .await?;
            ids.push(id);
        }
        let bucket = market.server_folder().join("bucket");
        for folder in ["uploads", "runs"] {
            spoil(&bucket.join(folder), input.len(), input.len() * 2 / 3)?;
        }

        market.add_node().await?;

        for id in ids {
            let message = client.failure(&id).await?;
            let named = message.contains("\"in.txt\" is damaged in the server's storage");
            ensure!(named && message.starts_with("chunk 2 failed"), "{message}");
        }
        Ok(())
    })
    .await
}

/// What the server passes on from a URL fails as what a node reads itself does.
#[tokio::test]
async fn url_that_becomes_unreachable_after_the_cut_is_not_the_servers_fault() -> Result<()> {
    Market::open(Shape::nodes(0), async |market, client| {
        push(&client, "lines", COPY, "concat").await?;
        let input = sample(2_000);
        let (url, server) = web::serve_parts(input.clone()).await?;
        let source = json!({"dataSourceDescriptor": "url", "params": {"url": url}});
        let id = client.start(order(source, json!({"chunk_bytes": input.len() / 3})), None).await?;
        until("the cut", async || {
            let job = client.job(&id).await?;
            ensure!(job["endedAt"].is_null(), "{job}");
            Ok((job["numChunks"].as_u64() >= Some(3)).then_some(()))
        })
        .await?;
        server.abort();

        market.add_node().await?;

        let message = until("why the task is tried again", async || {
            let message = client.job(&id).await?["errorMessage"].to_string();
            Ok(message.contains("is tried again").then_some(message))
        })
        .await?;
        ensure!(message.contains("its input does not come") && message.contains(&url), "{message}");
        ensure!(!message.contains("the server is at fault"), "{message}");
        client.post(&format!("/v1/customer/jobs/{id}/abort"), json!({})).await?;
        Ok(())
    })
    .await
}

async fn keys(client: &Client, source: Value, upload: Option<&[u8]>) -> Result<Vec<String>> {
    let id = client.start(order(source, json!({})), upload).await?;
    client.reached(&id, COMPLETE).await?;
    let results = client.results(&id).await?;
    results.values().map(|text| Ok(String::from_utf8(text.to_vec())?.trim().to_owned())).collect()
}

#[tokio::test]
async fn app_can_identify_the_file_of_its_chunk() -> Result<()> {
    let s3 = S3::start().await?;
    for key in ["in/a b+é %41.txt", "in/deep/a b+é %41.txt", "in/x:y*?.csv"] {
        let path = s3.path(key);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(path, "x")?;
    }
    Market::open(Shape::nodes(1), async |_, client| {
        push(&client, "file", KEYS, "passthrough").await?;

        let found = keys(&client, s3.place_with_keys("in/"), None).await?;
        let expected = [
            "0|a b+é _41.txt|in/a b+é %41.txt",
            "1|a b+é _41.txt|in/deep/a b+é %41.txt",
            "2|x_y__.csv|in/x:y*?.csv",
        ];
        assert_eq!(BTreeSet::from_iter(found.iter().map(String::as_str)), expected.into());

        let upload = json!({"dataSourceDescriptor": "file", "params": {"name": "my file.txt"}});
        let found = keys(&client, upload, Some(b"x")).await?;
        assert_eq!(found, ["0|my file.txt|my file.txt"]);

        // Its server gives no ranges, so that it is read from a copy.
        let server = web::serve("x").await?;
        let url = format!("{server}/deep/a%20b.txt?signature=secret#secret");
        let source = json!({"dataSourceDescriptor": "url", "params": {"url": url}});
        let found = keys(&client, source.clone(), None).await?;
        assert_eq!(found, [format!("0|a b.txt|{server}/deep/a%20b.txt")]);

        // A chunk that a partitioner of one's own has made is no file of the source.
        let cut = r#"cp "$SOURCE_DIR"/* "$CHUNKS_DIR/data_0.bin""#;
        client.push(&Package::partitioner("cut", cut)).await?;
        push(&client, "cut", KEYS, "passthrough").await?;
        let found = keys(&client, source, None).await?;
        assert_eq!(found, ["0|data_0.bin|data_0.bin"]);
        Ok(())
    })
    .await
}
