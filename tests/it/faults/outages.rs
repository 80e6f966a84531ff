//! The database, the bucket, or the network between nodes and server goes away in every phase of a
//! run: the run waits, says why, and ends right and paid once.
//!
//! An outage takes some seconds; `FANFOLD_TEST_OUTAGE_SECS` sets other ones.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::{Method, StatusCode};
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use serde_json::{Value, json};

use crate::faults::durability::{at_work, push_large_word_count, slow_word_count};
use crate::jobs::main_job::{counted, sample};
use harness::books;
use harness::client::{COMPLETE, Client};
use harness::market::{Market, Shape};
use harness::package::Package;
use harness::say::say;
use harness::services::postgres::Postgres;
use harness::services::proxy::Proxy;
use harness::services::s3::{ACCESS_KEY, BUCKET, S3, SECRET_KEY};
use harness::wait::{until, until_for};

/// Every request is answered within this time, whatever is away.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// A query of a database that has fallen silent is answered within this time.
const QUERY_MAX: Duration = Duration::from_secs(10);
/// How long until an outage must have been noticed.
const NOTICE_MAX: Duration = Duration::from_secs(5);
/// How long a customer may have to ask beyond an outage's length until told what is away: a node
/// says so as soon as it notices, and each round of questions takes up to 6 s.
const TOLD_MAX: Duration = Duration::from_secs(7);
/// How long the partitioner and the assembler run: a test on a busy machine must see a phase, and
/// take a part away in it, before the phase ends.
const ENGINES: Duration = Duration::from_secs(8);
const LINES: usize = 160;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Database,
    Bucket,
    Network,
}

/// How a part is away.
#[derive(Debug, Clone, Copy)]
enum How {
    /// Nobody listens.
    Closed,
    /// What is sent gets lost.
    Silent,
}

/// When a part goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between the upload and the run.
    Idle,
    Partitioning,
    Processing,
    Assembling,
    Delivering,
}

const PHASES: [Phase; 5] =
    [Phase::Idle, Phase::Partitioning, Phase::Processing, Phase::Assembling, Phase::Delivering];

fn outage() -> Result<Duration> {
    match std::env::var("FANFOLD_TEST_OUTAGE_SECS") {
        Ok(secs) => Ok(Duration::from_secs(secs.parse()?)),
        Err(_) => Ok(Duration::from_secs(10)),
    }
}

/// A server whose parts are reached through proxies, and where its customer wants the results.
struct Site<'a> {
    client: Client,
    outlet: S3,
    part: Part,
    proxy: &'a Proxy,
    /// How the part is away in the first phase; it alternates.
    first: How,
}

impl Site<'_> {
    /// One run of the word count, with an outage in each of these phases.
    async fn run(&self, name: &'static str, phases: &[Phase]) -> Result<(String, Duration)> {
        let input = sample(LINES);
        let mut order = slow_word_count();
        order["dataDestination"] = self.outlet.place_with_keys(name);
        let id = self.client.create(order).await?;
        self.client.upload(&id, input.clone()).await?;

        let began = Instant::now();
        self.during(Phase::Idle, phases, &id).await?;
        if self.client.job(&id).await?["state"] == "JOB_STATE_NEW" {
            self.client.run(&id).await?;
        }
        for (phase, state) in [
            (Phase::Partitioning, "JOB_STATE_PARTITIONING"),
            (Phase::Processing, "JOB_STATE_PARTITIONED"),
            (Phase::Assembling, "JOB_STATE_MERGING"),
        ] {
            if phases.contains(&phase) {
                at_work(&self.client, &id, state).await?;
            }
            if phase == Phase::Assembling {
                self.outlet.close_gate();
            }
            self.during(phase, phases, &id).await?;
        }
        let before = self.outlet.writes();
        until("a result to be delivered", async || {
            let progress = self.client.progress(&id).await?;
            ensure!(progress["status"] != "failed", "{progress}");
            Ok((self.outlet.writes() > before).then_some(()))
        })
        .await?;
        self.during(Phase::Delivering, phases, &id).await?;
        self.outlet.open_gate();
        self.client.reached(&id, COMPLETE).await?;
        let took = began.elapsed();

        let file = self.outlet.path(&format!("{name}/total.txt"));
        assert_eq!(std::fs::read_to_string(file)?, counted(&input));
        Ok((id, took))
    }

    /// Takes the part away for a while, if it is to be away in this phase, and looks at what is
    /// said of it meanwhile.
    async fn during(&self, phase: Phase, phases: &[Phase], id: &str) -> Result<()> {
        let Some(n) = phases.iter().position(|other| *other == phase) else { return Ok(()) };
        match (self.first, n % 2) {
            (How::Closed, 0) | (How::Silent, 1) => self.proxy.close(),
            (How::Closed | How::Silent, _) => self.proxy.keep_silent(),
        }
        let began = Instant::now();
        let told = self.look(phase, id, began + outage()?).await;
        self.proxy.open();
        told.with_context(|| format!("{:?} away, {phase:?}", self.part))
    }

    async fn look(&self, phase: Phase, id: &str, end: Instant) -> Result<()> {
        self.is_noticed().await?;
        if phase == Phase::Idle {
            let run = format!("/v1/customer/jobs/{id}/run");
            self.ask(Method::POST, &run, json!({})).await?;
        }
        let explain = format!("/v1/customer/jobs/{id}/explain");
        let mut said = Vec::new();
        while Instant::now() < end
            || !self.is_named(phase, &said) && Instant::now() < end + TOLD_MAX
        {
            let (status, answer) = self.ask(Method::GET, &explain, json!({})).await?;
            match (self.part, status) {
                (Part::Database, StatusCode::SERVICE_UNAVAILABLE) => {
                    said.push(answer["message"].to_string());
                }
                // What is asked of the coordinator alone is still known.
                (_, StatusCode::OK) => said.push(answer["reasons"].to_string()),
                (_, status) => bail!("explain: {status} {answer}"),
            }
            // The package is not this test's: only whether it can be stored is.
            let push = json!({"data": Package::app("other", "true").archive()?});
            let (status, answer) = self.ask(Method::POST, "/v1/dev/apps", push).await?;
            let is_refused = status == StatusCode::SERVICE_UNAVAILABLE;
            ensure!(is_refused == (self.part != Part::Network), "push: {status} {answer}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        ensure!(self.is_named(phase, &said), "not told what is away: {said:#?}");
        Ok(())
    }

    /// Waits until the server says that it is not ready, and which part is away.
    async fn is_noticed(&self) -> Result<()> {
        let named = match self.part {
            Part::Database => "database",
            Part::Bucket => "bucket",
            // It is not the server's.
            Part::Network => return Ok(()),
        };
        until_for(NOTICE_MAX, "/readyz to say 503", async || {
            let (status, answer) = self.ask(Method::GET, "/readyz", json!({})).await?;
            ensure!(
                status != StatusCode::SERVICE_UNAVAILABLE || answer.to_string().contains(named)
            );
            Ok((status == StatusCode::SERVICE_UNAVAILABLE).then_some(()))
        })
        .await?;
        let (alive, answer) = self.ask(Method::GET, "/healthz", json!({})).await?;
        ensure!(alive == StatusCode::OK, "/healthz: {alive} {answer}");
        Ok(())
    }

    /// Whether the customer was told what is away, if anything waits for it.
    fn is_named(&self, phase: Phase, said: &[String]) -> bool {
        let named = match (self.part, phase) {
            (_, Phase::Idle) => return true,
            // Nobody but the server has anything to do, and it has read what it delivers.
            (Part::Network | Part::Bucket, Phase::Delivering) => return true,
            (Part::Database, _) => "database",
            (Part::Bucket, _) => "bucket",
            (Part::Network, _) => "not been heard",
        };
        said.iter().any(|text| text.contains(named))
    }

    /// Asks, and expects an answer within seconds: the documented one, or that a part is away.
    async fn ask(&self, method: Method, path: &str, body: Value) -> Result<(StatusCode, Value)> {
        let mut request = self.client.request(method.clone(), path).timeout(ANSWER_MAX);
        if method != Method::GET {
            request = request.json(&body);
        }
        let answer = request.send().await.with_context(|| format!("{method} {path}"))?;
        let status = answer.status();
        let again = answer.headers().contains_key("retry-after");
        ensure!(again == (status == StatusCode::SERVICE_UNAVAILABLE), "{method} {path}: {status}");
        Ok((status, answer.json().await?))
    }
}

/// Opens a market whose database, bucket and nodes are reached through proxies, and runs the same
/// job twice in it: in calm, and with an outage of this part in each phase.
async fn goes_away(part: Part, database: Option<Postgres>, first: How) -> Result<()> {
    let (store, outlet) = (S3::start().await?, S3::start().await?);
    let bucket = Proxy::start(store.address).await?;
    let mut shape = Shape::nodes(0)
        .set("DATA__S3__BUCKET", BUCKET)
        .set("DATA__S3__REGION", "us-east-1")
        .set("DATA__S3__ENDPOINT", &format!("http://{}", bucket.address))
        .set("DATA__S3__ACCESS_KEY", ACCESS_KEY)
        .set("DATA__S3__SECRET_KEY", SECRET_KEY);
    let mut tables = None;
    if let Some(database) = &database {
        let proxy = Proxy::start(database.address().await?).await?;
        shape = shape.set("DATABASE_URL", &database.url_through(proxy.address)?);
        tables = Some(proxy);
    }
    Market::open(shape, async |market, client| {
        let network = Proxy::start(market.listens_at()?).await?;
        market.reach_through(network.address);
        market.add_node().await?;
        market.add_node().await?;
        push_large_word_count(&client, ENGINES).await?;
        let proxy = match part {
            Part::Database => tables.as_ref().context("a database with a proxy")?,
            Part::Bucket => &bucket,
            Part::Network => &network,
        };
        let site = Site { client, outlet, part, proxy, first };

        let (_, calm) = site.run("calm", &[]).await?;
        let (id, took) = site.run("stormy", &PHASES).await?;

        let outages = outage()? * u32::try_from(PHASES.len())?;
        say(format_args!("{part:?}: calm {calm:?}, with {outages:?} of outages {took:?}"));
        // Each may cost its own length, and the calm time once more.
        let most = outages + calm * (1 + u32::try_from(PHASES.len())?);
        ensure!(took < most, "{took:?} is longer than {most:?}");
        is_paid_once(market, &site, &id).await
    })
    .await?;
    if let Some(database) = database {
        database.remove().await?;
    }
    Ok(())
}

/// Each chunk was paid once, and the books add up.
async fn is_paid_once(market: &Market, site: &Site<'_>, id: &str) -> Result<()> {
    let twice = "SELECT count(*) AS n FROM (SELECT run FROM transfers WHERE kind = 'capture' \
        GROUP BY run, stage, idx HAVING count(*) > 1) t";
    assert_eq!(books::count(&market.books().await?, twice).await?, 0, "chunks paid twice");
    assert_eq!(site.client.lines().await?.len(), 3, "the grant, and one line for each run");
    let balance = site.client.balance().await?;
    assert_eq!(balance.total, balance.available);
    let books = site.client.get("/v1/wallet/reconciliation").await?;
    assert_eq!(books["differences"], 0, "{books}");
    if site.part == Part::Bucket {
        // What cannot fetch its data for half a minute gives its place to others.
        return Ok(());
    }
    let tasks = site.client.get(&format!("/v1/customer/jobs/{id}/tasks")).await?;
    let again = |task: &&Value| task["attempt"] != 1;
    let again = tasks["tasks"].as_array().context("tasks")?.iter().filter(again).count();
    assert_eq!(again, 0, "no work was lost: {tasks}");
    Ok(())
}

#[tokio::test]
async fn outages_of_a_sqlite_servers_bucket_are_waited_for() -> Result<()> {
    goes_away(Part::Bucket, None, How::Closed).await
}

#[tokio::test]
async fn outages_of_the_network_to_a_sqlite_server_are_waited_for() -> Result<()> {
    goes_away(Part::Network, None, How::Silent).await
}

#[tokio::test]
async fn outages_of_postgresql_are_waited_for() -> Result<()> {
    let Some(database) = Postgres::create().await? else { return Ok(()) };
    goes_away(Part::Database, Some(database), How::Closed).await
}

/// A query waits for a lock, so it is under way for certain when every byte begins to be lost.
#[tokio::test]
async fn query_under_way_when_postgresql_falls_silent_is_answered_within_seconds() -> Result<()> {
    let Some(database) = Postgres::create().await? else { return Ok(()) };
    let proxy = Proxy::start(database.address().await?).await?;
    let shape = Shape::nodes(0).set("DATABASE_URL", &database.url_through(proxy.address)?);
    Market::open(shape, async |_, client| {
        let direct = database.connect().await?;
        let lock = direct.begin().await?;
        lock.execute_unprepared("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE").await?;
        let list = async || client.request(Method::GET, "/v1/customer/jobs").send().await;
        let silenced = async {
            until("a query to wait for the lock", async || {
                let waiting = "SELECT count(*) AS n FROM pg_stat_activity \
                    WHERE datname = current_database() AND wait_event_type = 'Lock'";
                Ok((books::count(&direct, waiting).await? > 0).then_some(()))
            })
            .await?;
            proxy.keep_silent();
            anyhow::Ok(Instant::now())
        };

        let (answer, silent) = tokio::join!(list(), silenced);

        let (answer, waited) = (answer?, silent?.elapsed());
        ensure!(answer.status() == StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        ensure!(answer.headers().contains_key("retry-after"), "{answer:?}");
        ensure!(answer.text().await?.contains("database"), "which part is away");
        ensure!(waited < QUERY_MAX, "{waited:?}");
        lock.rollback().await?;
        proxy.open();
        until("the list of jobs again", async || {
            Ok((list().await?.status() == StatusCode::OK).then_some(()))
        })
        .await
    })
    .await?;
    database.remove().await
}

#[tokio::test]
async fn outages_of_a_postgresql_servers_bucket_are_waited_for() -> Result<()> {
    let Some(database) = Postgres::create().await? else { return Ok(()) };
    goes_away(Part::Bucket, Some(database), How::Silent).await
}

#[tokio::test]
async fn outages_of_the_network_to_a_postgresql_server_are_waited_for() -> Result<()> {
    let Some(database) = Postgres::create().await? else { return Ok(()) };
    goes_away(Part::Network, Some(database), How::Closed).await
}
