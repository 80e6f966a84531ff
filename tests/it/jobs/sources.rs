//! Where data comes from and where it goes: buckets with keys, our own bucket elsewhere, large
//! files, and the built-in engines.

use std::io::Read as _;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};

use crate::jobs::main_job::{counted, push_word_count, sample, word_count};
use harness::client::{COMPLETE, Client};
use harness::machine::process::Process;
use harness::market::{Market, Shape};
use harness::package::Package;
use harness::services::s3::{ACCESS_KEY, BUCKET, S3, SECRET_KEY};
use harness::services::web;

const MIB: usize = 1 << 20;

/// An app that hands its chunk on as it is.
const COPY: &str = r#"cat "$TASK_DIR/data.bin" > "$TASK_RESULTS_DIR/part.txt""#;

async fn push_copy(client: &Client, partitioner: &str, assembler: &str) -> Result<()> {
    client.push(&Package::app("copy", COPY)).await?;
    client.template(partitioner, "copy", assembler).await
}

fn copy(source: Value, destination: Value, partitioner: Value) -> Value {
    let mut order = json!({"templateId": "copy", "name": "copy"});
    order["dataSource"] = source;
    order["dataDestination"] = destination;
    order["params"]["partitioner"] = partitioner;
    order
}

fn plain(descriptor: &str) -> Value {
    json!({"dataSourceDescriptor": descriptor})
}

#[tokio::test]
async fn data_is_moved_from_bucket_to_bucket_with_a_stored_secret() -> Result<()> {
    let s3 = S3::start().await?;
    let input = sample(500);
    std::fs::create_dir(s3.path("in"))?;
    std::fs::write(s3.path("in/words.txt"), &input)?;
    Market::open(Shape::nodes(2), async |_, client| {
        push_word_count(&client).await?;
        let secret = json!({"id": "mine", "secretType": "aws", "accessKey": ACCESS_KEY});
        let wrong = json!({"id": "wrong", "secretType": "aws", "accessKey": ACCESS_KEY});
        let secrets = "/v1/auth/secrets";
        client.post(secrets, json!({"secret": secret, "secretKey": SECRET_KEY})).await?;
        client.post(secrets, json!({"secret": wrong, "secretKey": "guessed"})).await?;
        let order = |source: &str, destination: &str| {
            let mut order = word_count(input.len() / 4);
            order["dataSource"] = s3.place("/in/words.txt", source);
            order["dataDestination"] = s3.place("out/deep", destination);
            order
        };

        let id = client.start(order("mine", "mine"), None).await?;
        client.reached(&id, COMPLETE).await?;
        assert_eq!(std::fs::read_to_string(s3.path("out/deep/total.txt"))?, counted(&input));
        let results = client.get(&format!("/v1/customer/jobs/{id}/results")).await?;
        assert_eq!(results["results"][0]["link"], format!("s3://{BUCKET}/out/deep/total.txt"));

        // Wrong keys are told apart from a broken server, before and after the work.
        for (source, destination) in [("wrong", "mine"), ("mine", "wrong")] {
            let id = client.start(order(source, destination), None).await?;
            let message = client.failure(&id).await?;
            assert!(message.contains("check the access key"), "{message}");
        }
        let shown = client.get(secrets).await?.to_string();
        assert!(!shown.contains(SECRET_KEY) && shown.contains("mine"), "{shown}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn results_refused_by_a_destination_are_delivered_again_at_no_cost() -> Result<()> {
    let s3 = S3::start().await?;
    let input = sample(300);
    Market::open(Shape::nodes(1), async |market, client| {
        push_word_count(&client).await?;
        let secrets = "/v1/auth/secrets";
        let secret = json!({"id": "mine", "secretType": "aws", "accessKey": ACCESS_KEY});
        client.post(secrets, json!({"secret": secret, "secretKey": "guessed"})).await?;
        let mut order = word_count(input.len() / 2);
        order["dataDestination"] = s3.place("out", "mine");
        let id = client.start(order, Some(input.as_bytes())).await?;
        let message = client.failure(&id).await?;
        assert!(message.contains("check the access key"), "{message}");
        assert!(message.contains("can be delivered again at no cost"), "{message}");
        let (paid, lines) = (client.balance().await?, client.lines().await?.len());

        // Its customer puts it right.
        client.delete(&format!("{secrets}/aws/mine")).await?;
        client.post(secrets, json!({"secret": secret, "secretKey": SECRET_KEY})).await?;
        market.customer(&["job", "deliver", &id]).await?;
        let job = client.reached(&id, COMPLETE).await?;

        assert_eq!(std::fs::read_to_string(s3.path("out/total.txt"))?, counted(&input));
        assert_eq!(
            (job["status"].as_str(), job["errorMessage"].as_str()),
            (Some("succeeded"), Some(""))
        );
        assert_eq!(client.balance().await?, paid);
        assert_eq!(client.lines().await?.len(), lines, "its line was written when it failed");
        let again = format!("/v1/customer/jobs/{id}/deliver");
        let refusal = client.refused(Method::POST, &again, json!({})).await?;
        assert!(refusal.status == 400 && refusal.message.contains("failed"), "{refusal:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn files_become_chunks_whose_names_reach_the_app() -> Result<()> {
    let s3 = S3::start().await?;
    std::fs::create_dir_all(s3.path("in/deep"))?;
    for (key, text) in [("b.txt", "two"), ("a.txt", "one"), ("deep/c.txt", "three"), ("d.md", "")] {
        std::fs::write(s3.path(&format!("in/{key}")), text)?;
    }
    Market::open(Shape::nodes(2), async |_, client| {
        let named = r#"echo "$CHUNK_NAME=$(cat "$TASK_DIR/data.bin")" > "$TASK_RESULTS_DIR/x""#;
        client.push(&Package::app("copy", named)).await?;
        let order =
            |name: &str, destination: Value| copy(s3.place_with_keys(name), destination, json!({}));

        client.template("file", "copy", "passthrough").await?;
        let id = client.start(order("in/", s3.place_with_keys("out")), None).await?;
        let job = client.reached(&id, COMPLETE).await?;
        assert_eq!(job["numChunks"], 4);
        let read = |name: &str| std::fs::read_to_string(s3.path(&format!("out/{name}")));
        assert_eq!(
            (read("0000000_x")?.as_str(), read("0000003_x")?.as_str()),
            ("a.txt=one\n", "c.txt=three\n")
        );

        client.template("passthrough", "copy", "concat").await?;
        let id = client.start(order("in/**/*.txt", plain("bucket")), None).await?;
        client.reached(&id, COMPLETE).await?;
        let folded = &client.results(&id).await?["result.txt"];
        assert_eq!(folded, "a.txt=one\nb.txt=two\nc.txt=three\n");

        // A container of one's own finds all files in one folder.
        let cut =
            r#"cd "$SOURCE_DIR"; ls > "$CHUNKS_DIR/data_0.bin"; cat * > "$CHUNKS_DIR/data_1.bin""#;
        client.push(&Package::partitioner("ls", cut)).await?;
        client.template("ls", "copy", "concat").await?;
        let id = client.start(order("in/**/*.txt", plain("bucket")), None).await?;
        client.reached(&id, COMPLETE).await?;
        let folded = &client.results(&id).await?["result.txt"];
        assert_eq!(folded, "data_0.bin=a.txt\nb.txt\nc.txt\ndata_1.bin=onetwothree\n");

        let id = client.start(order("in/*.pdf", plain("bucket")), None).await?;
        let message = client.failure(&id).await?;
        assert!(
            message.contains("there is no object") && message.contains("in/*.pdf"),
            "{message}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn inline_keys_of_a_descriptor_work_and_are_never_shown_again() -> Result<()> {
    let s3 = S3::start().await?;
    std::fs::write(s3.path("in.txt"), "some words\n")?;
    Market::open(Shape::nodes(1), async |_, client| {
        push_copy(&client, "passthrough", "passthrough").await?;
        let order = copy(s3.place_with_keys("in.txt"), s3.place_with_keys("out"), json!({}));

        let id = client.start(order, None).await?;
        let job = client.reached(&id, COMPLETE).await?;

        assert_eq!(std::fs::read_to_string(s3.path("out/part.txt"))?, "some words\n");
        assert!(!job.to_string().contains(SECRET_KEY), "{job}");
        let secrets = client.get("/v1/auth/secrets").await?;
        assert_eq!(secrets["secrets"], json!([]), "it is the job's own");
        Ok(())
    })
    .await
}

/// Two nodes, and a server whose own bucket is there.
fn on_s3(s3: &S3) -> Shape {
    Shape::nodes(2)
        .set("DATA__S3__BUCKET", BUCKET)
        .set("DATA__S3__REGION", "us-east-1")
        .set("DATA__S3__ENDPOINT", &s3.endpoint)
        .set("DATA__S3__ACCESS_KEY", ACCESS_KEY)
        .set("DATA__S3__SECRET_KEY", SECRET_KEY)
}

#[tokio::test]
async fn large_results_are_put_into_the_servers_bucket_by_the_nodes() -> Result<()> {
    const CHUNK: usize = 100_000;

    let s3 = S3::start().await?;
    Market::open(on_s3(&s3), async |_, client| {
        push_copy(&client, "bytes", "concat").await?;
        let line = sample(1).into_bytes();
        let input = Bytes::from(line.into_iter().cycle().take(4 * CHUNK).collect::<Vec<_>>());
        let order = copy(plain("file"), plain("bucket"), json!({"chunk_bytes": CHUNK}));
        let id = client.create(order).await?;
        client.upload(&id, input.clone()).await?;
        let before = s3.signed_writes();

        client.run(&id).await?;
        client.reached(&id, COMPLETE).await?;

        let results = client.results(&id).await?;
        assert!(results["result.txt"] == input, "the same bytes in the same order");
        // Two more find out whether the store checks digests.
        assert!(s3.signed_writes() - before >= 4 + 2, "{}", s3.signed_writes() - before);
        let metrics = reqwest::get(format!("{}/metrics", client.url)).await?.text().await?;
        let passed = metrics.lines().find(|line| line.contains("\"node_result\""));
        let passed = passed.context("the bytes of results that passed the server")?;
        assert!(passed.ends_with(" 0"), "{passed}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn servers_bucket_may_be_on_s3_and_nodes_read_it_directly() -> Result<()> {
    let s3 = S3::start().await?;
    Market::open(on_s3(&s3), async |_, client| {
        push_word_count(&client).await?;
        let input = sample(500);

        let id = client.start(word_count(input.len() / 4), Some(input.as_bytes())).await?;
        client.reached(&id, COMPLETE).await?;

        assert_eq!(client.results(&id).await?["total.txt"], counted(&input));
        assert!(s3.signed_reads() >= 4, "each chunk by a link of its own: {}", s3.signed_reads());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn large_file_does_not_increase_memory_use() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        push_copy(&client, "bytes", "concat").await?;
        let line = sample(1).into_bytes();
        let bytes = 96 * MIB;
        let input = Bytes::from(line.into_iter().cycle().take(bytes).collect::<Vec<_>>());
        let order = copy(plain("file"), plain("bucket"), json!({"chunk_bytes": 24 * MIB}));
        let peak = |server: &mut Process| server.memory_kib("VmHWM");
        let before = peak(market.server()?)?;

        let id = client.create(order).await?;
        client.upload(&id, input.clone()).await?;
        client.run(&id).await?;
        client.reached(&id, COMPLETE).await?;

        let grown = peak(market.server()?)? - before;
        assert!(grown < 48 * 1024, "the server's memory grew by {grown} KiB");
        let results = client.results(&id).await?;
        assert!(results["result.txt"] == input, "the same bytes in the same order");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn url_without_ranges_is_read() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        push_copy(&client, "lines", "concat").await?;
        let input = sample(300);
        let url = format!("{}/data.txt", web::serve(input.clone()).await?);
        let source = json!({"dataSourceDescriptor": "url", "params": {"url": url}});
        let order = copy(source, plain("bucket"), json!({"chunk_bytes": input.len() / 3}));

        let id = client.start(order, None).await?;
        client.reached(&id, COMPLETE).await?;

        assert_eq!(client.results(&id).await?["result.txt"], input);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn builtin_engines_work_as_named() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        let input = b"one\ntwo\nthree\n";
        let run = async |partitioner: &str, params: Value, assembler: &str| {
            push_copy(&client, partitioner, assembler).await?;
            let order = copy(plain("file"), plain("bucket"), params);
            let id = client.start(order, Some(input)).await?;
            client.reached(&id, COMPLETE).await?;
            client.results(&id).await
        };

        let concat = run("replicate", json!({"num_replicas": 3}), "concat").await?;
        assert_eq!(concat["result.txt"], Bytes::from(input.repeat(3)));

        let zipped = run("bytes", json!({"chunk_bytes": 5}), "zip").await?;
        let unzipped = unzip(&zipped["results_archive.zip"])?;
        assert_eq!(
            unzipped,
            ["0000000_part.txt:one\nt", "0000001_part.txt:wo\nth", "0000002_part.txt:ree\n"]
        );

        let parts = run("lines", json!({"chunk_bytes": 6}), "passthrough").await?;
        assert!(parts.values().all(|part| part.ends_with(b"\n")), "{parts:?}");
        assert_eq!(parts.values().flatten().copied().collect::<Vec<_>>(), input);

        let whole = run("passthrough", json!({}), "passthrough").await?;
        assert_eq!(whole["part.txt"], &input[..]);
        Ok(())
    })
    .await
}

/// The files of an archive as `name:text`, by somebody else's program.
fn unzip(archive: &[u8]) -> Result<Vec<String>> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), archive)?;
    let script = "import sys, zipfile\n\
        archive = zipfile.ZipFile(sys.argv[1])\n\
        assert archive.testzip() is None\n\
        for name in archive.namelist(): print(name + ':' + archive.read(name).decode(), end='\\0')";
    let mut child = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(file.path())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let mut text = String::new();
    child.stdout.take().context("python's output")?.read_to_string(&mut text)?;
    anyhow::ensure!(child.wait()?.success(), "the archive cannot be read");
    Ok(text.split_terminator('\0').map(str::to_owned).collect())
}

#[tokio::test]
async fn job_without_data_runs_and_may_leave_nothing_behind() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        push_copy(&client, "replicate", "passthrough").await?;
        let params = json!({"num_replicas": 2});

        let id = client.start(copy(plain("bypass"), plain("bypass"), params), None).await?;
        let job = client.reached(&id, COMPLETE).await?;

        assert_eq!(job["numChunks"], 2);
        assert!(client.results(&id).await?.is_empty());
        Ok(())
    })
    .await
}
