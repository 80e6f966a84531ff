//! A full disk under a server at work: requests are refused with the reason, nothing that was
//! acknowledged is lost, and everything goes on by itself once there is room.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::faults::durability::{at_work, paid_once, push_slow_word_count, slow_word_count};
use crate::jobs::main_job::{counted, sample};
use harness::client::{COMPLETE, Client, text};
use harness::market::{Market, Shape};
use harness::wait::until;

const DISK_MIB: u32 = 64;

/// A file that takes all room of its disk until it is dropped.
struct Ballast {
    path: PathBuf,
    file: File,
}

impl Ballast {
    fn new(folder: &Path) -> Result<Self> {
        let path = folder.join("ballast");
        Ok(Self { file: File::create(&path)?, path })
    }

    /// Takes what room there is by now.
    fn fill(&mut self) -> Result<()> {
        loop {
            match self.file.write(&[1; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        // A test that fails here fails elsewhere.
        let _ = fs::remove_file(&self.path);
    }
}

/// What became of a request on a full disk.
enum Told {
    Done(Value),
    DiskFull,
}

/// Sends a request that must be done, or refused because of the disk.
async fn told(request: RequestBuilder) -> Result<Told> {
    let answer = request.send().await?;
    let (status, again) = (answer.status(), answer.headers().contains_key("retry-after"));
    let body = answer.text().await?;
    if status == 200 {
        return Ok(Told::Done(serde_json::from_str(&body).unwrap_or_default()));
    }
    let reason = body.contains("DISK_FULL") && body.contains(" is full: nothing was stored");
    ensure!(status == 503 && again && reason, "{status} {body}");
    Ok(Told::DiskFull)
}

fn draft() -> Value {
    json!({
        "templateId": "slow-count", "name": "draft",
        "dataSource": {"dataSourceDescriptor": "file"},
        "dataDestination": {"dataSourceDescriptor": "bucket"},
    })
}

/// Makes drafts until the disk is full; gives those that were acknowledged.
async fn drafts_until_full(client: &Client, ballast: &mut Ballast) -> Result<Vec<String>> {
    let mut acknowledged = Vec::new();
    until("a draft that is refused", async || {
        ballast.fill()?;
        let request = client.request(Method::POST, "/v1/customer/jobs").json(&draft());
        match told(request).await? {
            Told::Done(answer) => acknowledged.push(text(&answer["job"]["id"])?),
            Told::DiskFull => return Ok(Some(())),
        }
        Ok(None)
    })
    .await?;
    Ok(acknowledged)
}

async fn all_are_there(client: &Client, jobs: &[String]) -> Result<()> {
    for id in jobs {
        client.job(id).await.with_context(|| format!("the acknowledged job {id}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn full_disk_refuses_with_its_reason_loses_nothing_and_recovers_by_itself() -> Result<()> {
    let shape = Shape::nodes(1).disk(DISK_MIB).set("NODES__LEASE_SECS", "10");
    Market::open(shape, async |market, client| {
        push_slow_word_count(&client).await?;
        let input = sample(240);
        let before = client.create(draft()).await?;
        let run = client.start(slow_word_count(), Some(input.as_bytes())).await?;
        at_work(&client, &run, "JOB_STATE_PARTITIONED").await?;

        let mut ballast = Ballast::new(&market.server_folder())?;
        let mut jobs = drafts_until_full(&client, &mut ballast).await?;
        let top_up = client.request(Method::POST, "/v1/wallet/top_up");
        let top_up = told(top_up.json(&json!({"amount": 100}))).await?;
        ensure!(matches!(top_up, Told::DiskFull), "a top-up was stored on a full disk");
        let link = text(&client.job(&before).await?["dataSource"]["params"]["tempUrl"])?;
        let upload = reqwest::Client::new().put(link).body(vec![1; 1 << 20]);
        ensure!(matches!(told(upload).await?, Told::DiskFull), "a file was stored on a full disk");
        all_are_there(&client, &jobs).await?;
        drop(ballast);

        client.reached(&run, COMPLETE).await?;
        for _ in 0..10 {
            jobs.push(client.create(draft()).await?);
        }
        market.kill_server()?;
        market.start_server().await?;
        let client = market.client().await?;
        jobs.push(before);
        all_are_there(&client, &jobs).await?;
        assert_eq!(client.results(&run).await?["total.txt"], counted(&input));
        paid_once(&client).await
    })
    .await
}

#[tokio::test]
async fn full_disk_delays_a_decision_until_there_is_space() -> Result<()> {
    Market::open(Shape::nodes(0).disk(DISK_MIB), async |market, client| {
        push_slow_word_count(&client).await?;
        let asked = client.post("/v1/wallet/top_up", json!({"amount": 100})).await?;
        let id = text(&asked["topUpRequest"]["id"])?;
        let confirm = format!("/v1/wallet/top_ups/{id}/state");
        let confirm = || {
            let request = client.request(Method::POST, &confirm);
            request.json(&json!({"state": "CONFIRMED"}))
        };
        let mut ballast = Ballast::new(&market.server_folder())?;
        drafts_until_full(&client, &mut ballast).await?;

        let Told::DiskFull = told(confirm()).await? else { bail!("confirmed on a full disk") };
        let before = client.balance().await?.total;
        drop(ballast);

        until("the credits", async || {
            let come = client.balance().await?.total.units() - before.units();
            ensure!(come == 0 || come == 100_0000_0000, "{come}");
            Ok((come > 0).then_some(()))
        })
        .await?;
        let Told::Done(_) = told(confirm()).await? else { bail!("the disk has room") };
        assert_eq!(client.balance().await?.total.units() - before.units(), 100_0000_0000);
        Ok(())
    })
    .await
}
