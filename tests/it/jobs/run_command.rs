//! `fanfold run`, with real containers.

use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use harness::client::{Client, text};
use harness::machine::busybox;
use harness::market::{Market, Shape};
use harness::wait::until;
use reqwest::Method;
use serde_json::{Value, json};

const IMAGE: &str = busybox::IMAGE;

/// What a command wrote to its standard output and its standard error.
fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn plain() -> Shape {
    Shape::nodes(1).set_nodes("NODE_ALLOW_PLAIN", "true")
}

/// Makes a job of these containers, and starts it; gives the id of the job and of its run.
async fn started(client: &Client, container: Value) -> Result<(String, String)> {
    let job = client.post("/v1/jobs", json!({ "container": container })).await?;
    let job = text(&job["id"])?;
    let run = client.post(&format!("/v1/jobs/{job}/runs"), json!({})).await?;
    Ok((job, text(&run["run"]["id"])?))
}

/// Waits until a run is in this state.
async fn reached(client: &Client, run: &str, state: &str) -> Result<Value> {
    until(&format!("run {run} is {state}"), async || {
        let found = client.get(&format!("/v1/runs/{run}")).await?;
        Ok((found["state"] == state).then_some(found))
    })
    .await
}

/// What the containers of a run wrote, line by line.
async fn lines(client: &Client, run: &str) -> Result<Vec<String>> {
    let logs = client.get(&format!("/v1/runs/{run}/logs?level=container")).await?;
    let lines = logs["lines"].as_array().context("lines")?;
    lines.iter().map(|line| text(&line["text"])).collect()
}

/// The ids of the job and of the run that `--detach` prints.
fn ids(out: &str) -> Option<(&str, &str)> {
    let (job, run) = out.trim().split_once('\n')?;
    Some((job.strip_prefix("job ")?, run.strip_prefix("run ")?))
}

#[tokio::test]
async fn run_shows_the_output_and_exits_with_the_code_of_its_container() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, _| {
        let script = "echo out; echo err >&2; echo $GREETING; cat /in/file; exit 7";
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("file");
        std::fs::write(&file, "from here\n")?;
        let mounted = format!("{}:/in/file", file.display());

        let output = market
            .command(&[
                "run",
                IMAGE,
                "--env",
                "GREETING=a b",
                "--file",
                &mounted,
                "--",
                "sh",
                "-c",
                script,
            ])
            .await?;

        let (out, err) = said(&output);
        ensure!(output.status.code() == Some(7), "{:?} {out}{err}", output.status);
        ensure!(out == "out\na b\nfrom here\n", "{out}");
        ensure!(err.lines().any(|line| line == "err"), "{err}");
        ensure!(err.contains("exit code 7"), "{err}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn run_downloads_results_and_detaches_when_it_is_asked_to() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        let folder = tempfile::tempdir()?;
        let results = folder.path().join("results").display().to_string();
        let script = "echo whole > $FANFOLD_RESULTS/a.txt";

        let output = market
            .command(&["run", IMAGE, "--results", &results, "--", "sh", "-c", script])
            .await?;
        ensure!(output.status.success(), "{:?}", said(&output));
        ensure!(std::fs::read_to_string(format!("{results}/a.txt"))? == "whole\n");

        let output = market.command(&["run", IMAGE, "--detach", "--", "true"]).await?;
        let (out, err) = said(&output);
        let (_, run) = ids(&out).with_context(|| format!("{out}{err}"))?;
        reached(&client, run, "succeeded").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn run_that_no_node_allows_says_whose_rule_stands_in_the_way() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        let output = market.command(&["run", IMAGE, "--plain", "--detach", "--", "true"]).await?;
        let (out, err) = said(&output);
        let (job, run) = ids(&out).with_context(|| format!("{out}{err}"))?;

        let why = until("the run is explained", async || {
            let why = client.get(&format!("/v1/runs/{run}/explain")).await?;
            Ok(why["reasons"].to_string().contains("profile plain").then_some(why))
        })
        .await?;

        ensure!(why["waiting"] == true, "{why}");
        ensure!(why["reasons"].to_string().contains("--allow-plain"), "{why}");
        // A change of the owner's mind is heard.
        client.delete(&format!("/v1/jobs/{job}")).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn run_of_several_containers_shares_folders_and_a_network() -> Result<()> {
    Market::open(plain(), async |_, client| {
        let shell = |script: &str| json!({"image": IMAGE, "shell": script});
        let mut container = shell("wget -q -O - http://web:8080/page; cat /shared/first");
        let serve = "mkdir /www; echo served > /www/page; httpd -f -p 8080 -h /www";
        container["profile"] = json!("plain");
        container["shared"] = json!(["/shared"]);
        container["before"] = json!([shell("echo first > /shared/first")]);
        container["after"] = json!([shell("echo last; exit 5")]);
        let mut web = shell(serve);
        web["name"] = json!("web");
        web["cpu_millis"] = json!(100);
        web["memory_mib"] = json!(32);
        web["port"] = json!(8080);
        container["beside"] = json!([web]);

        let (_, run) = started(&client, container).await?;

        let ended = reached(&client, &run, "failed").await?;
        let message = text(&ended["cause"]["message"])?;
        ensure!(message.contains("after-1") && message.contains("exit code 5"), "{message}");
        let lines = lines(&client, &run).await?;
        ensure!(lines == ["main | served", "main | first", "after-1 | last"], "{lines:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn run_keeps_its_secrets_out_of_its_logs() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        let secret = json!({"id": "TOKEN", "type": "other", "value": "hush-hush-value"});
        client.post("/v1/secrets", secret).await?;
        let script = "echo $TOKEN; echo $TOKEN | rev; env | grep -c hush; exit 3";
        let (_, run) =
            started(&client, json!({"image": IMAGE, "shell": script, "secrets": ["TOKEN"]}))
                .await?;

        let ended = reached(&client, &run, "failed").await?;

        let lines = lines(&client, &run).await?;
        ensure!(lines.len() == 3 && lines[1] == "eulav-hsuh-hsuh", "{lines:?}");
        ensure!(!format!("{lines:?}{ended}").contains("hush-hush-value"), "{lines:?} {ended}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn cancelled_container_is_gone_from_its_node() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        let (_, run) = started(&client, json!({"image": IMAGE, "shell": "sleep 600"})).await?;
        until("the container is there", async || Ok((market.containers()? > 0).then_some(())))
            .await?;

        client.post(&format!("/v1/runs/{run}/cancel"), json!({})).await?;

        reached(&client, &run, "cancelled").await?;
        market.containers_end().await?;
        let refused =
            client.refused(Method::POST, &format!("/v1/runs/{run}/cancel"), json!({})).await?;
        ensure!(refused.status == 400 || refused.status == 409, "{refused:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn run_goes_on_when_its_node_is_killed() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        let script = "echo begun; sleep 5; echo ended";
        let (_, run) = started(&client, json!({"image": IMAGE, "shell": script})).await?;
        until("the container has begun", async || {
            Ok(lines(&client, &run).await?.contains(&"begun".to_owned()).then_some(()))
        })
        .await?;

        market.kill_node(0)?;
        market.start_node(0)?;

        let ended = reached(&client, &run, "succeeded").await?;
        ensure!(ended["cause"].is_null(), "{ended}");
        let last = lines(&client, &run).await?;
        ensure!(last.last().is_some_and(|line| line == "ended"), "{last:?}");
        market.containers_end().await
    })
    .await
}
