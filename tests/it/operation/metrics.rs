//! The metrics of real processes as Prometheus' own tool reads them, and the documents about them.

mod documents;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use harness::client::COMPLETE;
use harness::market::{Market, Shape};
use harness::say::say;
use harness::wait::until;

use crate::jobs::main_job::{push_word_count, sample, word_count};

const TOKEN: &str = "token of the metrics";
/// What a node says where it serves its metrics, in its log.
const SAYS: &str = "metrics are at /metrics address=";

/// Runs Prometheus' tool on this input; says "skipped" where it is not installed.
fn promtool(args: &[&str], input: &str) -> Result<()> {
    let mut command = Command::new("promtool");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut tool) = command.spawn() else {
        say(format_args!("skipped: there is no promtool (Debian package prometheus)"));
        return Ok(());
    };
    tool.stdin.take().context("its input")?.write_all(input.as_bytes())?;
    let output = tool.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "promtool {args:?}: {}", String::from_utf8_lossy(&said));
    Ok(())
}

/// The status and the text of a scrape with these headers.
async fn scrape(url: &str, headers: &[(&str, &str)]) -> Result<(u16, String)> {
    let mut request = reqwest::Client::new().get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// Where the market's first node gives its metrics.
async fn node_metrics(market: &Market) -> Result<String> {
    let log = market.node_folder(0).with_extension("log");
    until("the address of the node's metrics", async || {
        let text = std::fs::read_to_string(&log)?;
        let address = text.split(SAYS).nth(1).and_then(|rest| rest.split_whitespace().next());
        Ok(address.map(|address| format!("http://{address}/metrics")))
    })
    .await
}

/// The value of a sample, named with its labels.
fn value(text: &str, sample: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("{sample} in {text}"))?.parse()?)
}

/// The names of all samples.
fn samples(text: &str) -> impl Iterator<Item = String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.split(['{', ' ']).next()?.to_owned()))
}

#[tokio::test]
async fn metrics_of_a_run_are_valid_and_complete_on_server_and_node() -> Result<()> {
    let shape = Shape::nodes(1).set_nodes("NODE_METRICS_LISTEN", "127.0.0.1:0");
    Market::open(shape, async |market, client| {
        push_word_count(&client).await?;
        let input = sample(500);
        let bytes = f64::from(u32::try_from(input.len())?);
        let id = client.start(word_count(input.len() / 3), Some(input.as_bytes())).await?;
        client.reached(&id, COMPLETE).await?;
        client.results(&id).await?;

        let (status, server) = scrape(&format!("{}/metrics", client.url), &[]).await?;
        let (node_status, node) = scrape(&node_metrics(market).await?, &[]).await?;

        ensure!((status, node_status) == (200, 200), "{server} {node}");
        promtool(&["check", "metrics"], &server)?;
        promtool(&["check", "metrics"], &node)?;
        let known: BTreeSet<String> = samples(&server).chain(samples(&node)).collect();
        let unknown: Vec<_> =
            documents::used()?.into_iter().filter(|name| !known.contains(name)).collect();
        ensure!(unknown.is_empty(), "the documents name what is not there: {unknown:?}");
        let accepted = value(&server, "fanfold_receipts_total{outcome=\"accepted\"}")?;
        for (text, sample, least) in [
            (&server, "fanfold_ready", 1.0),
            (&server, "fanfold_nodes_connected", 1.0),
            (&server, "fanfold_runs_ended_total{state=\"succeeded\"}", 1.0),
            (&server, "fanfold_receipts_total{outcome=\"accepted\"}", 4.0),
            (&server, "fanfold_coordinator_commit_duration_seconds_count", 4.0),
            (&server, "fanfold_ledger_credits_total{kind=\"capture\"}", 1e-8),
            (&server, "fanfold_wallet_credits{account=\"pending\"}", 1e-8),
            (
                &server,
                "fanfold_http_requests_total{method=\"POST\",route=\"/v1/customer/jobs\",\
                 status=\"2xx\"}",
                1.0,
            ),
            (&server, "fanfold_transferred_bytes_total{direction=\"in\",kind=\"upload\"}", bytes),
            (&server, "fanfold_database_connections{state=\"idle\"}", 1.0),
            (&node, "fanfold_node_server_connected", 1.0),
            (&node, "fanfold_node_attempts_taken_total", accepted),
            (&node, "fanfold_node_attempts_ended_total{outcome=\"succeeded\"}", accepted),
            (&node, "fanfold_node_container_seconds_total", 1e-3),
            (&node, "fanfold_node_fetched_bytes_total{kind=\"input\"}", bytes),
            (&node, "fanfold_node_stored_bytes_total", 1.0),
            (&node, "fanfold_node_last_sync_timestamp_seconds", 1e9),
            (&node, "fanfold_node_disk_budget_bytes", 1e9),
            (&node, "fanfold_node_lent_cpus", 1e-3),
        ] {
            let found = value(text, sample)?;
            ensure!(found >= least, "{sample} is {found}, not at least {least}");
        }
        for (text, sample) in [
            (&server, "fanfold_tasks_waiting"),
            (&server, "fanfold_leases"),
            (&server, "fanfold_runs{state=\"running\"}"),
            (&server, "fanfold_wallet_credits{account=\"held\"}"),
            (&node, "fanfold_node_attempts_running"),
            (&node, "fanfold_node_busy_cpus"),
        ] {
            let found = value(text, sample)?;
            ensure!(found == 0.0, "{sample} is {found} when all has ended");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn metrics_are_given_to_this_machine_directly_and_to_others_with_the_token() -> Result<()> {
    Market::open(Shape::nodes(0).set("METRICS__TOKEN", TOKEN), async |_, client| {
        let url = format!("{}/metrics", client.url);
        let (right, wrong) = (format!("Bearer {TOKEN}"), format!("Bearer {TOKEN}s"));

        for (headers, expected) in [
            (vec![], 200),
            (vec![("authorization", "Bearer anything")], 200),
            (vec![("x-forwarded-for", "127.0.0.1")], 401),
            (vec![("x-forwarded-for", "1.2.3.4"), ("authorization", &wrong)], 401),
            (vec![("origin", "https://page.example")], 401),
            (vec![("x-forwarded-for", "1.2.3.4"), ("authorization", &right)], 200),
        ] {
            let (status, text) = scrape(&url, &headers).await?;

            ensure!(status == expected, "{headers:?}: {status} {text}");
            ensure!(text.contains("fanfold_build_info") == (expected == 200), "{text}");
            ensure!(!text.contains(TOKEN), "{text}");
        }
        Ok(())
    })
    .await
}
