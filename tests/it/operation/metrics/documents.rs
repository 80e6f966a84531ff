//! The documents about metrics: the page is what the code says, the rules and the dashboard are
//! valid.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use instruments::{Description, table};
use server::metrics::Metrics;

use super::promtool;

/// Set in the environment, it has the page written again.
const UPDATE: &str = "UPDATE_DOCS";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations")
}

fn read(name: &str) -> Result<String> {
    fs::read_to_string(folder().join(name)).with_context(|| name.to_owned())
}

/// The metrics that the dashboard and the rules use.
pub fn used() -> Result<BTreeSet<String>> {
    let text = read("grafana-dashboard.json")? + &read("alerts.yml")?;
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_metric = |word: &&str| word.starts_with("fanfold_") || word.starts_with("process_");
    Ok(words.filter(is_metric).map(ToOwned::to_owned).collect())
}

/// The page with this table between its two marks.
fn with_table(page: &str, whose: &str, metrics: &[Description]) -> Result<String> {
    let begin = format!("<!-- begin of {whose} metrics: written by the tests with {UPDATE}=1 -->");
    let end = format!("<!-- end of {whose} metrics -->");
    let (before, rest) = page.split_once(&begin).with_context(|| begin.clone())?;
    let (_, after) = rest.split_once(&end).with_context(|| end.clone())?;
    Ok(format!("{before}{begin}\n\n{}\n{end}{after}", table(metrics)))
}

#[test]
fn metrics_page_lists_the_metrics_of_the_code() -> Result<()> {
    let page = read("metrics.md")?;

    let current = with_table(&page, "the server's", Metrics::new().descriptions())?;
    let current = with_table(&current, "a node's", &node::metrics())?;

    if std::env::var_os(UPDATE).is_some() {
        fs::write(folder().join("metrics.md"), &current)?;
        return Ok(());
    }
    ensure!(page == current, "docs/operations/metrics.md is stale: run this test with {UPDATE}=1");
    Ok(())
}

#[test]
fn alerts_are_valid_rules_and_fire_when_they_should() -> Result<()> {
    let test = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/operation/metrics/alerts_test.yml");

    promtool(&["check", "rules", &folder().join("alerts.yml").display().to_string()], "")?;
    promtool(&["test", "rules", &test.display().to_string()], "")
}

#[test]
fn scrape_configuration_of_the_page_is_valid() -> Result<()> {
    let page = read("metrics.md")?;
    let config = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
    let temporary = tempfile::tempdir()?;
    let file = temporary.path().join("prometheus.yml");

    fs::write(&file, config.context("a scrape configuration")?)?;
    fs::copy(folder().join("alerts.yml"), temporary.path().join("alerts.yml"))?;

    promtool(&["check", "config", &file.display().to_string()], "")
}

#[test]
fn dashboard_has_a_row_for_each_part_and_a_query_in_each_panel() -> Result<()> {
    let dashboard: serde_json::Value = serde_json::from_str(&read("grafana-dashboard.json")?)?;
    let panels = dashboard["panels"].as_array().context("panels")?;

    let is_row = |panel: &&serde_json::Value| panel["type"] == "row";
    let rows: Vec<_> = panels.iter().filter(is_row).map(|row| &row["title"]).collect();

    assert_eq!(rows, ["Traffic", "Coordinator", "Nodes", "Money", "Process"]);
    for panel in panels.iter().filter(|panel| !is_row(panel)) {
        let targets = panel["targets"].as_array().context("targets")?;
        let has_query = |target: &serde_json::Value| target["expr"].is_string();
        ensure!(!targets.is_empty() && targets.iter().all(has_query), "{panel}");
    }
    Ok(())
}
