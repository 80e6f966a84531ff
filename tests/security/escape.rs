//! The escape kit, as strangers would run it, and two tenants beside each other on one node.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use harness::client::{COMPLETE, Client};
use harness::machine::busybox;
use harness::machine::process;
use harness::market::{Market, Shape};
use harness::package::Package;
use harness::say::say;

/// This many ways out are tried at least.
const TRIES_MIN: usize = 60;

/// What an ordinary container of the engine lets happen, and the kit must therefore see.
const SEEN_UNCONFINED: [&str; 14] = [
    "identity-root",
    "identity-seccomp",
    "identity-new-privileges",
    "io-uring",
    "keys-list",
    "bpf",
    "namespace-user",
    "trace-be-traced",
    "hidden-space",
    "socket-virtual-machines",
    "netlink-generic",
    "limit-core-dumps",
    "loader-variables",
    "control-group-names",
];

fn order(template: &str) -> Value {
    json!({
        "templateId": template, "name": template,
        "dataSource": {"dataSourceDescriptor": "bypass"},
        "dataDestination": {"dataSourceDescriptor": "bucket"},
    })
}

/// The names of the tries, all of which must have been held.
fn held(text: &str) -> Result<BTreeSet<&str>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| line.strip_prefix("held ").map(str::trim).with_context(|| line.to_owned()))
        .collect()
}

/// A package that is nothing but the kit.
fn kit() -> Package {
    Package::app("escape", "")
        .with("platform", json!("binary"))
        .with("platform_config", json!({}))
        .with("entrypoint", json!("escape"))
        .with_file("app/escape", node::guest::ESCAPE_KIT)
}

#[tokio::test]
async fn escape_kit_finds_no_way_out_of_a_job() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        client.push(&kit()).await?;
        client.template("passthrough", "escape", "passthrough").await?;

        let id = client.start(order("escape"), None).await?;
        let reached = client.reached(&id, COMPLETE).await;

        let text = container_lines(&client, &id).await?;
        let held = held(&text)?;
        ensure!(held.len() >= TRIES_MIN, "{} tries: {held:?}", held.len());
        reached.map(drop)
    })
    .await
}

/// What a job's tasks wrote, without the lines of the node's own.
async fn container_lines(client: &Client, job: &str) -> Result<String> {
    let asked = json!({"jobId": job, "levels": ["UNKNOWN"]});
    let logs = client.post("/v1/customer/logs", asked).await?;
    let tasks = logs["taskrunner"].as_object().with_context(|| logs.to_string())?;
    let lines = tasks.values().filter_map(|task| task["logs"].as_array()).flatten();
    Ok(lines.filter_map(|line| line["log"].as_str()).map(|text| format!("{text}\n")).collect())
}

#[test]
fn doctor_runs_the_escape_kit_and_all_tries_are_held() -> Result<()> {
    if !busybox::is_possible() {
        return Ok(());
    }
    for profile in [&[][..], &["--plain"]] {
        let doctor = Command::new(process::fanfold()?)
            .args(["node", "doctor", "--escape-kit"])
            .args(profile)
            .output()?;
        check_doctor(doctor)?;
    }
    Ok(())
}

fn check_doctor(Output { status, stdout, stderr }: Output) -> Result<()> {
    let (text, problem) = (String::from_utf8(stdout)?, String::from_utf8_lossy(&stderr));
    if text.contains("refused  user") {
        say(format_args!("skipped: only root can give containers users of their own"));
        return Ok(());
    }
    ensure!(status.success(), "{text}{problem}");
    let tries: Vec<_> = text.lines().filter(|line| line.starts_with("held ")).collect();
    ensure!(held(&tries.join("\n"))?.len() >= TRIES_MIN, "{text}");
    ensure!(text.contains("ok       system calls"), "{text}");
    Ok(())
}

#[test]
fn escape_kit_detects_what_an_unconfined_container_allows() -> Result<()> {
    if !busybox::is_possible() {
        return Ok(());
    }
    busybox::make()?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("escape"), node::guest::ESCAPE_KIT)?;
    Command::new("chmod").arg("755").arg(folder.path().join("escape")).status()?;
    let mount = format!("{}:/kit:ro", folder.path().display());
    let unconfined = ["--security-opt", "seccomp=unconfined", "--memory", "512m"];

    let output = Command::new("docker")
        .args(["run", "--rm", "--network", "none", "--pids-limit", "512", "--volume", &mount])
        .args(unconfined)
        .args([busybox::IMAGE, "/kit/escape"])
        .output()?;

    let text = String::from_utf8(output.stdout)?;
    for name in SEEN_UNCONFINED {
        let prefix = format!("out {name} ");
        let line = text.lines().find(|line| line.starts_with(&prefix)).with_context(|| {
            format!("{name} is not seen: {text}{}", String::from_utf8_lossy(&output.stderr))
        })?;
        ensure!(!line.contains("could not be tried"), "{line}");
    }
    Ok(())
}
