//! Everybody hostile at once: two workspaces and a node, against one honest job.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::client::{COMPLETE, Client, FAILED};
use harness::market::{Market, Shape};
use harness::package::Package;
use harness::rogue::Rogue;
use harness::services::registry::Registry;
use harness::services::web;
use harness::wait::until;
use serde_json::{Value, json};

/// Tasks of the honest job. Each works a while, so that a few seconds lost to an attack show.
const TASKS: u32 = 40;
/// What a busy machine adds to a job of seconds by itself.
const NOISE: Duration = Duration::from_secs(3);

fn order(template: &str, source: &Value, tasks: u32) -> Value {
    json!({
        "templateId": template, "name": template, "dataSource": source,
        "dataDestination": {"dataSourceDescriptor": "bucket"},
        "params": {"partitioner": {"num_replicas": tasks}},
    })
}

fn no_source() -> Value {
    json!({"dataSourceDescriptor": "bypass"})
}

async fn push(client: &Client, package: &Package, partitioner: &str) -> Result<()> {
    client.push(package).await?;
    client.template(partitioner, package.name, "passthrough").await
}

/// The honest job: how long it takes, and what it costs in 1e-8 credits.
async fn honest(client: &Client) -> Result<(Duration, i64)> {
    let begun = Instant::now();
    let id = client.start(order("honest", &no_source(), TASKS), None).await?;
    let job = client.reached(&id, COMPLETE).await?;
    let took = begun.elapsed();
    let results = client.results(&id).await?.len();
    ensure!(results == TASKS as usize, "{results} results: {job}");
    let line = client.lines().await?.into_iter().next().context("the job has a line")?;
    Ok((took, -line.units))
}

/// Starts slow sources, images that no engine can start, and apps that fail, until it is told to
/// stop.
async fn attack([first, second]: [&Client; 2], url: &str, stop: &AtomicBool) -> Result<u32> {
    let source = json!({"dataSourceDescriptor": "url", "params": {"url": url}});
    for _ in 0..20 {
        first.start(order("copy", &source, 1), None).await?;
    }
    let mut jobs = 0;
    while !stop.load(Ordering::Relaxed) {
        let id = second.create(order("odd", &no_source(), 1)).await?;
        second.run(&id).await?;
        // The hostile node may hold the job for as long as it likes.
        until("the job's failure, or the end", async || {
            let has_failed = second.job(&id).await?["state"] == FAILED;
            Ok((has_failed || stop.load(Ordering::Relaxed)).then_some(()))
        })
        .await?;
        jobs += 1;
    }
    Ok(jobs)
}

#[tokio::test]
async fn hostile_workspaces_and_a_hostile_node_change_neither_time_nor_price() -> Result<()> {
    let url = web::trickle(Duration::from_secs(1)).await?;
    Market::open(Shape::nodes(2), async |market, client| {
        let work = r#"sleep 0.5; echo "$CHUNK_NUMBER" > "$TASK_RESULTS_DIR/n""#;
        push(&client, &Package::app("honest", work), "replicate").await?;
        let (first, second) = (market.tenant("first").await?, market.tenant("second").await?);
        push(&first, &Package::app("copy", "true"), "replicate").await?;
        let registry = Registry::public(json!({"Volumes": {"/proc": {}}})).await?;
        let odd = Package::app("odd", "true")
            .with("platform_config", json!({"container": registry.image()}));
        push(&second, &odd, "replicate").await?;
        honest(&client).await?;
        let (calm, fair) = honest(&client).await?;

        let stop = AtomicBool::new(false);
        let (_lies, _guard) = Rogue::join(market, &first, None).await?;
        let working = async {
            let worked = honest(&client).await;
            stop.store(true, Ordering::Relaxed);
            worked
        };
        let (attacked, jobs) = tokio::join!(working, attack([&first, &second], &url, &stop));
        registry.forget();
        let (took, price) = attacked?;

        ensure!(jobs? > 0, "nobody attacked");
        ensure!(took < calm.mul_f64(1.5) + NOISE, "calm {calm:?}, under attack {took:?}");
        // Each attempt is metered: what differs is how long the machine took for the same.
        ensure!(price < fair * 3 / 2, "calm {fair}, under attack {price}");
        Ok(())
    })
    .await
    .context("under attack")
}
