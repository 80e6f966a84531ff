//! A node that lies, under a workspace of its own, against another workspace's jobs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use common::device::Device;
use common::protocol::{Held, Orders, Outcome, Receipt, SignedReceipt, Sync};
use common::resources::{Resources, Usage};
use common::task::Lease;
use harness::books;
use harness::client::{COMPLETE, Client, text};
use harness::market::{Market, Shape};
use harness::package::Package;
use node::link::{self, Link};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The prices and the number of tasks that an operator's nodes were paid for.
struct Paid {
    tasks: i64,
    units: i64,
}

/// A hand-made node that claims 4,000,000 vCPUs and says that all it is given runs.
struct Rogue {
    link: Link,
    token: String,
    /// After so long it claims to have succeeded, without results; `None` is never.
    claims_after: Option<Duration>,
    held: BTreeMap<Lease, Instant>,
    receipts: Vec<(Lease, SignedReceipt)>,
}

impl Rogue {
    /// Joins a node of this tenant's, which lies until the second value is dropped.
    async fn join(
        market: &Market,
        tenant: &Client,
        claims_after: Option<Duration>,
    ) -> Result<(JoinHandle<()>, DropGuard)> {
        let token = text(&tenant.post("/v1/dev/nodes/tokens", json!({})).await?["token"])?;
        let endpoint = std::fs::read(market.server_folder().join("endpoint.json"))?;
        let endpoint: Value = serde_json::from_slice(&endpoint)?;
        let options = link::Options {
            server: vec![text(&endpoint["nodes"][0])?],
            key_file: market.server_folder().join("rogue.key"),
            allow_private_addresses: true,
        };
        let stop = CancellationToken::new();
        let link = Link::start(options, stop.clone())?;
        let (held, receipts) = (BTreeMap::new(), Vec::new());
        let mut rogue = Self { link, token, claims_after, held, receipts };
        // Known to the server before anything else happens.
        let orders = rogue.link.sync(rogue.message()).await?;
        rogue.obey(orders);
        let ended = stop.clone();
        let lies = tokio::spawn(async move {
            let _ = ended.run_until_cancelled(rogue.lie()).await;
        });
        Ok((lies, stop.drop_guard()))
    }

    async fn lie(&mut self) {
        loop {
            self.claim();
            if let Ok(orders) = self.link.sync(self.message()).await {
                self.obey(orders);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn message(&self) -> Sync {
        let running = |lease: &Lease| Held { lease: *lease, running_ms: Some(u64::MAX / 2) };
        Sync {
            incarnation: 1,
            token: Some(self.token.clone()),
            capacity: Resources::new(4_000_000_000, u32::MAX).with_disk(u32::MAX),
            prefetch: u32::MAX,
            device: Device::default(),
            holding: self.held.keys().map(running).collect(),
            receipts: self.receipts.iter().map(|(_, receipt)| receipt.clone()).collect(),
            logs: Vec::new(),
            probe: None,
            wait_ms: 50,
        }
    }

    fn obey(&mut self, orders: Orders) {
        let Orders::Work { assign, settled, cancel, .. } = orders else { return };
        self.receipts.retain(|(lease, _)| !settled.contains(lease) && !cancel.contains(lease));
        for lease in cancel {
            self.held.remove(&lease);
        }
        for lease in assign.into_iter().map(|assignment| assignment.lease) {
            if !self.receipts.iter().any(|(ended, _)| *ended == lease) {
                self.held.entry(lease).or_insert_with(Instant::now);
            }
        }
    }

    fn claim(&mut self) {
        let Some(after) = self.claims_after else { return };
        let (link, receipts) = (&self.link, &mut self.receipts);
        self.held.retain(|lease, since| {
            if since.elapsed() < after {
                return true;
            }
            let most = 1 << 62;
            let usage =
                Usage { cpu_ms: most, memory_mib_ms: most, wall_ms: most, ..Usage::default() };
            let outcome = Outcome::Succeeded { outputs: Vec::new() };
            let receipt = Receipt { lease: *lease, usage, outcome };
            let receipt = postcard::to_stdvec(&receipt).expect("a receipt always encodes");
            receipts.push((*lease, SignedReceipt { signature: link.sign(&receipt), receipt }));
            false
        });
    }
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
async fn rogue_node_gets_a_share_and_its_emptiness_is_shown() -> Result<()> {
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
        let hour = common::price::price(Usage::full(Resources::new(1000, 1024), 3_600_000));
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
