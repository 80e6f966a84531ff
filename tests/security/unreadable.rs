//! A server starts again whatever it has taken in, and whatever one of its rows has become.

use anyhow::{Context as _, Result, ensure};
use harness::client::{Client, FAILED};
use harness::machine::process::fanfold;
use harness::market::{Market, Shape};
use harness::package::Package;
use reqwest::Method;
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::{Value, json};
use tokio::process::Command;

/// This many objects inside one another.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!({}), |inner, _| json!({"a": inner}))
}

async fn push_app(client: &Client) -> Result<()> {
    client.push(&Package::app("sleeper", "true")).await?;
    client.template("passthrough", "sleeper", "passthrough").await
}

fn order() -> Value {
    json!({
        "templateId": "sleeper",
        "dataSource": {"dataSourceDescriptor": "bypass"},
        "dataDestination": {"dataSourceDescriptor": "bucket"},
    })
}

#[tokio::test]
async fn server_restarts_whatever_params_it_was_given() -> Result<()> {
    Market::open(Shape::nodes(0), async |market, client| {
        push_app(&client).await?;
        let mut taken = Vec::new();
        for levels in [1, 40, 61, 62, 63, 124, 125, 126] {
            let id = client.create(order()).await?;
            let path = format!("/v1/customer/jobs/{id}/params");
            // The body is a level, and so is the phase.
            if levels <= 62 {
                client.patch(&path, json!({"app": nested(levels)})).await?;
                client.run(&id).await?;
                taken.push(id);
                continue;
            }
            let refused =
                client.refused(Method::PATCH, &path, json!({"app": nested(levels)})).await?;
            ensure!(refused.status == 400 && refused.message.starts_with("app.a"), "{refused:?}");
        }

        market.kill_server()?;
        market.start_server().await?;

        let client = market.client().await?;
        for id in taken {
            ensure!(client.job(&id).await?["state"] != FAILED, "{id} was accepted and lost");
        }
        Ok(())
    })
    .await
}

/// What `fanfold server check` prints, and whether it found nothing.
async fn check(market: &Market) -> Result<(bool, String)> {
    let output = Command::new(fanfold()?)
        .args(["server", "check"])
        .env("FANFOLD_DATA_DIR", market.server_folder())
        .output()
        .await?;
    Ok((output.status.success(), String::from_utf8(output.stdout)?))
}

#[tokio::test]
async fn unreadable_row_ends_its_own_run_only() -> Result<()> {
    Market::open(Shape::nodes(0), async |market, client| {
        push_app(&client).await?;
        let broken = client.start(order(), None).await?;
        let mut later = order();
        later["startAt"] = json!("2027-06-01T00:00:00Z");
        let other = client.start(later, None).await?;
        let before = client.balance().await?;
        market.kill_server()?;
        ensure!(check(market).await?.0, "nothing is wrong yet");
        let url = format!("sqlite://{}", market.database().display());
        let deep = format!("{}{}", "[".repeat(130), "]".repeat(130));
        let poison = format!(
            "UPDATE runs SET terms = '{deep}' \
             WHERE lower(hex(job)) = '{}'",
            broken.replace('-', "")
        );
        let db = Database::connect(url).await?;
        ensure!(db.execute_unprepared(&poison).await?.rows_affected() == 1, "one run is poisoned");
        db.close().await?;
        let (fine, rows) = check(market).await?;
        ensure!(!fine && rows.lines().count() == 1 && rows.starts_with("runs\t"), "{rows}");

        market.start_server().await?;

        let client = market.client().await?;
        let why = client.failure(&broken).await?;
        ensure!(why.contains("run the job again"), "{why}");
        ensure!(client.job(&other).await?["state"] != FAILED, "the other run goes on");
        let after = client.balance().await?;
        ensure!(after.available > before.available, "its hold comes back: {before:?} {after:?}");
        let jobs = client.get("/v1/customer/jobs").await?;
        ensure!(jobs["data"].as_array().context("a list")?.len() == 2, "{jobs}");
        Ok(())
    })
    .await
}
