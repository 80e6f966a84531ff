//! Traces of real runs at a collector: whole, nested, across a kill of the server, and without
//! anything that is nobody else's business.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::jobs::main_job::{push_word_count, sample, word_count};
use harness::client::COMPLETE;
use harness::machine::busybox::IMAGE;
use harness::market::{Market, Shape};
use harness::package::Package;
use harness::services::collector::{Collector, Span};

const SECRET: &str = "TRACED-SECRET-0123456789";
const PARAM: &str = "TRACED-PARAM-0123456789";

fn traced(nodes: usize, collector: &Collector) -> Shape {
    Shape::nodes(nodes).set("TRACES__OTLP_ENDPOINT", &collector.url)
}

/// The path of each span from its run down, sorted; fails where a parent is missing.
fn paths(spans: &[Span]) -> Result<Vec<String>> {
    let by_id: BTreeMap<&str, &Span> = spans.iter().map(|span| (&*span.id, span)).collect();
    ensure!(by_id.len() == spans.len(), "two spans have one id: {spans:#?}");
    let traces: BTreeSet<&str> = spans.iter().map(|span| &*span.trace).collect();
    ensure!(traces.len() == 1, "one job has several traces: {traces:?}");
    let mut paths = Vec::new();
    for span in spans {
        let (mut path, mut at) = (span.name.clone(), span);
        while !at.parent.is_empty() {
            let parent = by_id.get(&*at.parent);
            at = parent.with_context(|| format!("{path} has no parent: {spans:#?}"))?;
            path = format!("{} / {path}", at.name);
        }
        paths.push(path);
    }
    paths.sort();
    Ok(paths)
}

/// What the spans of this name have under an attribute, sorted.
fn values(spans: &[Span], name: &str, attribute: &str) -> Vec<String> {
    let named = spans.iter().filter(|span| span.name == name);
    let mut values: Vec<String> =
        named.filter_map(|span| span.attributes.get(attribute).cloned()).collect();
    values.sort();
    values
}

#[tokio::test]
async fn trace_of_a_job_arrives_whole_and_nested() -> Result<()> {
    let collector = Collector::start().await?;
    Market::open(traced(1, &collector), async |_, client| {
        push_word_count(&client).await?;
        let input = sample(60);
        let id = client.start(word_count(input.len() / 2), Some(input.as_bytes())).await?;
        client.reached(&id, COMPLETE).await?;

        let spans = collector.has(&id, "run").await?;

        let paths = paths(&spans)?;
        let tasks = paths.iter().filter(|path| *path == "run / stage app / task").count();
        ensure!(tasks >= 2, "{paths:#?}");
        let mut expected = vec![
            "run",
            "run / stage assembler",
            "run / stage assembler / task",
            "run / stage assembler / task / attempt",
            "run / stage app",
            "run / stage delivery",
            "run / stage partitioner",
        ];
        for _ in 0..tasks {
            expected.extend(["run / stage app / task", "run / stage app / task / attempt"]);
        }
        expected.sort_unstable();
        assert_eq!(paths, expected);
        assert!(values(&spans, "attempt", "fanfold.outcome").iter().all(|of| of == "succeeded"));
        let attempts = spans.iter().filter(|span| span.name == "attempt");
        for attempt in attempts {
            assert!(attempt.attributes.contains_key("fanfold.node"), "{attempt:?}");
            assert_eq!(attempt.events, ["received", "running"], "{attempt:?}");
        }
        let run = spans.iter().find(|span| span.name == "run").context("run")?;
        assert_eq!(run.trace, run.attributes["fanfold.run"].replace('-', ""));
        assert!(spans.iter().all(|span| run.began <= span.began && span.ended <= run.ended));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn failed_attempts_are_traced_without_secrets_and_params() -> Result<()> {
    let collector = Collector::start().await?;
    let shape = traced(1, &collector).set("TRACES__HEADERS", "authorization=Bearer COLLECTORS-OWN");
    Market::open(shape, async |market, client| {
        let config = json!({"container": IMAGE, "secrets": ["TOKEN"]});
        let script = "echo \"$TOKEN\" | tee /dev/stderr; exit 3";
        let package = Package::app("broken", script).with("platform_config", config);
        client.push(&package).await?;
        client.template("passthrough", "broken", "passthrough").await?;
        let secret = json!({"secret": {"id": "TOKEN", "secretType": "other"}, "secretKey": SECRET});
        client.post("/v1/auth/secrets", secret).await?;
        let order = json!({
            "templateId": "broken", "name": "broken",
            "dataSource": {"dataSourceDescriptor": "bypass"},
            "dataDestination": {"dataSourceDescriptor": "bucket"},
            "params": {"app": {"password": PARAM}}, "config": {"maxTaskRetries": 1},
        });
        let id = client.start(order, None).await?;
        client.failure(&id).await?;

        let spans = collector.has(&id, "run").await?;

        let paths = paths(&spans)?;
        let attempts = paths.iter().filter(|path| *path == "run / stage app / task / attempt");
        assert_eq!(attempts.count(), 2, "{paths:#?}");
        assert_eq!(values(&spans, "attempt", "fanfold.cause"), ["exit_code"; 2]);
        assert_eq!(values(&spans, "attempt", "process.exit.code"), ["3"; 2]);
        assert_eq!(values(&spans, "task", "fanfold.outcome"), ["failed"]);
        assert_eq!(values(&spans, "run", "fanfold.outcome"), ["failed"]);
        let text = collector.text();
        ensure!(text.contains("Bearer COLLECTORS-OWN"), "{text}");
        let credentials = std::fs::read(market.server_folder().join("credentials.json"))?;
        let credentials: serde_json::Value = serde_json::from_slice(&credentials)?;
        let key = credentials["apiKey"].as_str().context("apiKey")?;
        for private in [SECRET, PARAM, key, &client.token] {
            ensure!(!text.contains(private), "{private} is in {text}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn trace_goes_on_after_a_kill_of_the_server() -> Result<()> {
    let collector = Collector::start().await?;
    Market::open(traced(1, &collector), async |market, client| {
        // Many more tasks than the node runs at once, so that the kill comes in the middle.
        client.push(&Package::app("slow", "sleep 1")).await?;
        client.template("replicate", "slow", "passthrough").await?;
        let order = json!({
            "templateId": "slow", "name": "slow",
            "dataSource": {"dataSourceDescriptor": "bypass"},
            "dataDestination": {"dataSourceDescriptor": "bucket"},
            "params": {"partitioner": {"num_replicas": 24}},
        });
        let id = client.start(order, None).await?;

        collector.has(&id, "stage partitioner").await?;
        collector.has(&id, "attempt").await?;
        market.kill_server()?;
        market.start_server().await?;
        market.client().await?.reached(&id, COMPLETE).await?;
        let spans = collector.has(&id, "run").await?;

        // Those that ended in the last moment before the kill may be missing, and nothing else.
        let paths = paths(&spans)?;
        for path in ["run", "run / stage partitioner", "run / stage app", "run / stage assembler"] {
            assert_eq!(paths.iter().filter(|of| *of == path).count(), 1, "{paths:#?}");
        }
        let tasks = paths.iter().filter(|path| *path == "run / stage app / task").count();
        ensure!((1..=24).contains(&tasks), "{paths:#?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn collector_that_is_away_costs_a_warning() -> Result<()> {
    // Nobody listens at the port of a collector that has gone.
    let gone = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let shape = Shape::nodes(1).set("TRACES__OTLP_ENDPOINT", &format!("http://{gone}"));
    Market::open(shape, async |market, client| {
        push_word_count(&client).await?;
        let input = sample(20);
        let id = client.start(word_count(1 << 20), Some(input.as_bytes())).await?;

        client.reached(&id, COMPLETE).await?;

        market.server()?.wrote("spans are lost").await
    })
    .await
}
