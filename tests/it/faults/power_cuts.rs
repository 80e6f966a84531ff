//! Power cuts under load: the server's disk is made again from its log of writes and flushes, as a cut
//! may have left it at many instants. Whatever had been acknowledged by then is there.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use common::digest::Digest;
use serde_json::json;
use tempfile::TempDir;

use crate::faults::damaged_files::started;
use crate::jobs::main_job::{counted, push_word_count, sample, word_count};
use harness::client::{COMPLETE, Client, text};
use harness::machine::power::{MountedImage, WriteLog};
use harness::machine::process::fanfold;
use harness::market::{Market, Shape};
use harness::wait::until_for;

const DISK_MIB: u64 = 192;
const ROUNDS: usize = 12;
const CUTS: u64 = 12;
const LINES: usize = 60;
const TOP_UP_UNITS: i64 = 100_0000_0000;

/// Something that the server has acknowledged.
#[derive(Debug)]
enum What {
    Draft(String),
    Run(String),
    TopUp,
}

/// When the disk's log had this length.
#[derive(Debug)]
struct Acknowledged {
    logged: u64,
    what: What,
}

/// Asks for one thing after the other.
async fn load(market: &Market, client: &Client) -> Result<Vec<Acknowledged>> {
    let mut all = Vec::new();
    let mut note = |what| -> Result<()> {
        all.push(Acknowledged { logged: market.logged()?, what });
        Ok(())
    };
    let input = sample(LINES);
    for _ in 0..ROUNDS {
        let id = client.create(word_count(input.len() / 4)).await?;
        note(What::Draft(id.clone()))?;
        client.upload(&id, input.clone()).await?;
        client.run(&id).await?;
        note(What::Run(id))?;
        let asked = client.post("/v1/wallet/top_up", json!({"amount": 100})).await?;
        let id = text(&asked["topUpRequest"]["id"])?;
        let state = format!("/v1/wallet/top_ups/{id}/state");
        client.post(&state, json!({"state": "CONFIRMED"})).await?;
        note(What::TopUp)?;
    }
    Ok(all)
}

/// Looks for everything that was acknowledged before the cut.
async fn all_is_there(client: &Client, before: &[&Acknowledged]) -> Result<()> {
    let mut top_ups = 0;
    for Acknowledged { what, .. } in before {
        match what {
            What::Draft(id) => drop(client.job(id).await?),
            What::Run(id) => {
                let job = client.job(id).await?;
                ensure!(job["stateTimestamps"].get("JOB_STATE_STARTED").is_some(), "{job}");
                ensure!(job["state"] != "JOB_STATE_FAILED", "{job}");
            }
            What::TopUp => top_ups += 1,
        }
    }
    let lines = client.lines().await?;
    let come = lines.iter().filter(|line| line.units == TOP_UP_UNITS).count();
    ensure!(come >= top_ups, "{come} of {top_ups} top-ups");
    Ok(())
}

/// What `fanfold server check` says of a folder: nothing is damaged, not even a digest.
fn is_intact(folder: &Path) -> Result<()> {
    let mut check = Command::new(fanfold()?);
    let output = check.args(["server", "check"]).env("FANFOLD_DATA_DIR", folder).output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

/// The disk after a cut, in a folder of the test's.
async fn survives(log: &WriteLog, length: u64, seed: u64, before: &[&Acknowledged]) -> Result<()> {
    let folder = TempDir::new()?;
    let (image, data) = (folder.path().join("image"), folder.path().join("data"));
    let mut writes = 0;
    log.image_at(length, &image, || {
        writes += 1;
        Digest::of(format!("{seed} {writes}").as_bytes()).to_string().as_str() < "8"
    })?;
    let _mounted = MountedImage::mount(&image, &data)?;
    is_intact(&data)?;
    let (server, said) = started(&data).await?;
    let _server = server.context(said)?;
    all_is_there(&Client::sign_in(&data).await?, before).await
}

#[tokio::test]
async fn power_cut_at_any_instant_loses_nothing_that_was_acknowledged() -> Result<()> {
    Market::open(Shape::nodes(1).recorded_disk(DISK_MIB), async |market, client| {
        push_word_count(&client).await?;
        let first = market.logged()?;
        let acknowledged = load(market, &client).await?;
        let last = market.logged()?;
        let log = market.cut_power()?;
        let before = |length: u64| -> Vec<&Acknowledged> {
            acknowledged.iter().filter(|some| some.logged <= length).collect()
        };

        // Within the first start, of which nothing was acknowledged.
        for cut in 0..CUTS {
            let length = log.made() + (first - log.made()) * cut / CUTS;
            survives(&log, length, cut, &[])
                .await
                .with_context(|| format!("cut {cut} of the first start at {length}"))?;
        }
        for cut in 1..=CUTS {
            let length = first + (last - first) * cut / CUTS;
            survives(&log, length, cut, &before(length))
                .await
                .with_context(|| format!("cut {cut} at {length}"))?;
        }

        // After the last cut the node comes back, and everything goes on.
        let folder = TempDir::new()?;
        let image = folder.path().join("image");
        log.image_at(last, &image, || false)?;
        market.insert_disk(&image)?;
        market.start_server().await?;
        let client = market.client().await?;
        all_is_there(&client, &before(last)).await?;
        for Acknowledged { what, .. } in &acknowledged {
            let What::Run(id) = what else { continue };
            until_for(Duration::from_secs(120), "the run", async || {
                let job = client.job(id).await?;
                ensure!(job["state"] != "JOB_STATE_FAILED", "{job}");
                Ok((job["state"] == COMPLETE).then_some(()))
            })
            .await?;
            assert_eq!(client.results(id).await?["total.txt"], counted(&sample(LINES)));
        }
        Ok(())
    })
    .await
}
