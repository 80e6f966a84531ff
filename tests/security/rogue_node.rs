//! A node that lies, under a workspace of its own, against another workspace's jobs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use common::compute::resources::{Resources, Usage};
use harness::books;
use harness::client::{COMPLETE, Client};
use harness::market::{Market, Shape};
use harness::package::Package;
use harness::rogue::Rogue;
use serde_json::{Value, json};

/// The prices and the number of tasks that an operator's nodes were paid for.
struct Paid {
    tasks: i64,
    units: i64,
}

/// What the nodes of the server's owner, and the others, were paid for this many tasks.
async fn paid(market: &Market) -> Result<(Paid, Paid)> {
    let db = books::open(&market.database()).await?;
    let of = async |honest: &str, what: &str| {
        let sql = format!(
            "SELECT coalesce({what}, 0) AS n FROM tasks t JOIN nodes d ON d.id = t.node \
             WHERE t.state = 2 AND d.operator {honest} \
             (SELECT operator FROM nodes ORDER BY joined_us LIMIT 1)"
        );
        books::count(&db, &sql).await
    };
    let sums = async |honest: &str| {
        anyhow::Ok(Paid {
            tasks: of(honest, "count(*)").await?,
            units: of(honest, "sum(price)").await?,
        })
    };
    Ok((sums("=").await?, sums("<>").await?))
}

async fn push_sleeper(client: &Client) -> Result<()> {
    let script = r#"sleep 0.3; echo "$CHUNK_NUMBER" > "$TASK_RESULTS_DIR/n""#;
    client.push(&Package::app("sleeper", script)).await?;
    client.template("replicate", "sleeper", "passthrough").await
}

fn order(tasks: u32, config: &Value) -> Value {
    json!({
        "templateId": "sleeper", "name": "sleeper",
        "dataSource": {"dataSourceDescriptor": "bypass"},
        "dataDestination": {"dataSourceDescriptor": "bucket"},
        "params": {"partitioner": {"num_replicas": tasks}}, "config": config,
    })
}

#[tokio::test]
async fn rogue_node_gets_a_share_and_its_empty_results_are_shown() -> Result<()> {
    Market::open(Shape::nodes(2), async |market, client| {
        push_sleeper(&client).await?;
        let tenant = market.tenant("rogue").await?;
        let (_lies, _guard) =
            Rogue::join(market, &tenant, Some(Duration::from_millis(200))).await?;

        let begun = Instant::now();
        let id = client.start(order(100, &json!({})), None).await?;
        let job = client.reached(&id, COMPLETE).await?;
        let secs = i64::try_from(begun.elapsed().as_secs())?;

        let (honest, rogue) = paid(market).await?;
        assert_eq!(honest.tasks + rogue.tasks, 100);
        // A quarter, and one each ten seconds.
        assert!(rogue.tasks <= 26 + secs / 10, "{} of 100 in {secs} s", rogue.tasks);
        // It is paid for the time that the server saw, at the price of everybody.
        let hour = common::money::price::price(Usage::full(Resources::new(1000, 1024), 3_600_000));
        let most = hour.units() * (secs + 1) * rogue.tasks / 3600;
        assert!(rogue.units <= most, "{} units, at most {most}", rogue.units);
        let without = job["tasksWithoutResults"].as_i64().context("a number")?;
        assert_eq!(without, rogue.tasks);
        assert_eq!(client.results(&id).await?.len(), usize::try_from(honest.tasks)?);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn rogue_node_gets_nothing_from_a_job_that_requires_results() -> Result<()> {
    Market::open(Shape::nodes(2), async |market, client| {
        push_sleeper(&client).await?;
        let tenant = market.tenant("rogue").await?;
        let (_lies, _guard) = Rogue::join(market, &tenant, Some(Duration::ZERO)).await?;

        let id = client.start(order(20, &json!({"requireResults": true})), None).await?;
        client.reached(&id, COMPLETE).await?;

        let (honest, rogue) = paid(market).await?;
        assert_eq!((honest.tasks, rogue.tasks), (20, 0));
        assert_eq!(client.results(&id).await?.len(), 20);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn rogue_node_that_never_ends_costs_its_customer_nothing() -> Result<()> {
    Market::open(Shape::nodes(2), async |market, client| {
        push_sleeper(&client).await?;
        let tenant = market.tenant("rogue").await?;
        let (_lies, _guard) = Rogue::join(market, &tenant, None).await?;

        let id = client.start(order(20, &json!({"taskTimeout": 2})), None).await?;
        client.reached(&id, COMPLETE).await?;

        let (honest, rogue) = paid(market).await?;
        assert_eq!((honest.tasks, rogue.tasks), (20, 0));
        let balance = tenant.get("/v1/wallet/balance").await?;
        assert_eq!(client.results(&id).await?.len(), 20, "{balance}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn rogue_node_is_found_by_checks_and_loses_what_it_earned() -> Result<()> {
    let shape = Shape::nodes(2).set("NODES__SPOT_CHECK_PERCENT", "100");
    Market::open(shape, async |market, client| {
        push_sleeper(&client).await?;
        let tenant = market.tenant("rogue").await?;
        let (_lies, _guard) =
            Rogue::join(market, &tenant, Some(Duration::from_millis(100))).await?;

        let id = client.start(order(40, &json!({})), None).await?;
        client.reached(&id, COMPLETE).await?;

        let db = books::open(&market.database()).await?;
        let barred = "SELECT count(*) AS n FROM operators WHERE barred_us IS NOT NULL";
        assert_eq!(books::count(&db, barred).await?, 1);
        let left = "SELECT coalesce(sum(units), 0) AS n FROM accounts WHERE kind = 3 AND owner \
             NOT IN (SELECT operator FROM nodes ORDER BY joined_us LIMIT 1)";
        assert_eq!(books::count(&db, left).await?, 0, "all that it earned was taken back");
        let (honest, rogue) = paid(market).await?;
        assert!(rogue.tasks <= 10 && honest.tasks + rogue.tasks == 40, "{}", rogue.tasks);
        Ok(())
    })
    .await
}
