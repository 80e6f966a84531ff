//! Jobs of several steps with real containers: values, conditions, lists, and secrets in texts.

use anyhow::{Context as _, Result, ensure};
use harness::client::{Client, text};
use harness::market::{Market, Shape};
use harness::wait::until;
use serde_json::{Value, json};

const VALUE: &str = "WORKFLOW-SECRET-0123456789";

/// Steps that give values, read them, are skipped, and work on each element of a list. The first
/// one lasts for long enough to kill a server in it.
fn job_file() -> Value {
    let image = harness::machine::busybox::IMAGE;
    json!({
        "name": "greetings",
        "inputs": {"who": "us"},
        "secrets": {"key": "KEY"},
        "defaults": {"image": image},
        "output": "{{ tasks.greeting }}: {{ tasks.lengths }}",
        "steps": [
            {"name": "first", "var": "greeting",
             "run": "sleep 2; printf 'hello {{ secrets.key }}' > $FANFOLD_OUTPUT; echo first"},
            {"name": "second",
             "run": format!("echo \"got $GOT, $SECRET\"; test ${{#SECRET}} = {}", VALUE.len()),
             "env": {"GOT": "{{ tasks.greeting }} of {{ inputs.who }}",
                     "SECRET": "{{ secrets.key }}"}},
            {"name": "third", "if": "{{ tasks.greeting == '' }}", "run": "exit 1"},
            {"name": "lengths", "var": "lengths",
             "each": {"list": "{{ ['a', 'bcd'] }}", "at_once": 1,
                      "step": {"run": "printf ${#WORD} > $FANFOLD_OUTPUT",
                               "env": {"WORD": "{{ item.value }}"}}}},
        ],
    })
}

async fn lines(client: &Client, run: &str) -> Result<Vec<String>> {
    let logs = client.get(&format!("/v1/runs/{run}/logs?level=container")).await?;
    let lines = logs["lines"].as_array().context("lines")?;
    lines.iter().map(|line| text(&line["text"])).collect()
}

#[tokio::test]
async fn workflow_follows_its_steps_over_a_kill_and_keeps_its_secrets() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        let secret = json!({"secret": {"id": "KEY", "secretType": "other"}, "secretKey": VALUE});
        client.post("/v1/auth/secrets", secret).await?;
        let job = client.post("/v1/jobs", json!({"workflow": job_file()})).await?;
        let path = format!("/v1/jobs/{}/runs", text(&job["id"])?);
        let run = text(&client.post(&path, json!({})).await?["run"]["id"])?;
        until("the first step", async || {
            let run = client.get(&format!("/v1/runs/{run}")).await?;
            Ok((run["counts"]["tasks_running"] == 1).then_some(()))
        })
        .await?;
        market.kill_server()?;
        market.start_server().await?;
        let client = market.client().await?;

        let ended: Value = until("the end of the run", async || {
            let found = client.get(&format!("/v1/runs/{run}")).await?;
            let state = text(&found["state"])?;
            Ok((state == "succeeded" || state == "failed").then_some(found))
        })
        .await?;

        ensure!(ended["state"] == "succeeded", "{ended}");
        // A value that looks like an expression is text.
        ensure!(ended["output"] == "hello {{ secrets.key }}: [\"1\",\"3\"]", "{ended}");
        let lines = lines(&client, &run).await?;
        let second = "got hello {{ secrets.key }} of us, ***";
        ensure!(lines == ["first", second], "{lines:?}");
        let stages = client.get(&format!("/v1/runs/{run}/stages")).await?;
        let states = stages["stages"].as_array().context("stages")?;
        let skipped = states.iter().filter(|stage| stage["state"] == "skipped").count();
        let done = states.iter().filter(|stage| stage["state"] == "done").count();
        ensure!((skipped, done + skipped) == (1, states.len()), "{stages}");
        for file in std::fs::read_dir(market.server_folder())? {
            let path = file?.path();
            if path.is_file() {
                let bytes = std::fs::read(&path)?;
                let found = bytes.windows(VALUE.len()).any(|part| part == VALUE.as_bytes());
                ensure!(!found, "{}", path.display());
            }
        }
        Ok(())
    })
    .await
}

/// Three steps, of which the second lasts for long enough to be cut off.
fn steps() -> Value {
    json!({
        "defaults": {"image": harness::machine::busybox::IMAGE},
        "output": "{{ tasks.first }}, {{ tasks.words }}",
        "steps": [
            {"name": "first", "var": "first", "run": "echo first; printf one > $FANFOLD_OUTPUT"},
            {"name": "words", "var": "words",
             "each": {"list": "{{ ['a', 'b'] }}", "at_once": 1,
                      "step": {"run": "echo begins $WORD; sleep 3; echo $WORD; printf $WORD > $FANFOLD_OUTPUT",
                               "env": {"WORD": "{{ item.value }}"}}}},
            {"name": "last", "run": "echo last"},
        ],
    })
}

#[tokio::test]
async fn retry_goes_on_over_a_kill_with_what_is_not_done_and_pays_each_task_once() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        let job = client.post("/v1/jobs", json!({"workflow": steps()})).await?;
        let path = format!("/v1/jobs/{}/runs", text(&job["id"])?);
        let run = text(&client.post(&path, json!({})).await?["run"]["id"])?;
        let path = format!("/v1/runs/{run}");
        // A line can come before the receipt of its task, so it is the next element's that counts.
        until("the second element", async || {
            let lines = lines(&client, &run).await?;
            let run = client.get(&path).await?;
            let is_in_second = lines.iter().any(|line| line == "begins b");
            Ok((is_in_second && run["counts"]["tasks_running"] == 1).then_some(()))
        })
        .await?;
        client.post(&format!("{path}/cancel"), json!({})).await?;
        let cancelled = client.get(&format!("{path}?wait=60")).await?;
        ensure!(cancelled["state"] == "cancelled", "{cancelled}");

        let again = client.post(&format!("{path}/retry"), json!({})).await?;
        ensure!(again["id"] == run.as_str(), "{again}");
        until("its task", async || {
            let run = client.get(&path).await?;
            Ok((run["counts"]["tasks_running"] == 1).then_some(()))
        })
        .await?;
        market.kill_server()?;
        market.start_server().await?;
        let client = market.client().await?;
        let ended: Value = until("the end of the run", async || {
            let found = client.get(&path).await?;
            let state = text(&found["state"])?;
            Ok((state == "succeeded" || state == "failed").then_some(found))
        })
        .await?;

        ensure!(ended["output"] == "one, [\"a\",\"b\"]", "{ended}");
        let lines = lines(&client, &run).await?;
        let count = |word: &str| lines.iter().filter(|line| *line == word).count();
        ensure!([count("first"), count("a"), count("last")] == [1, 1, 1], "{lines:?}");
        let books = client.get("/v1/wallet/reconciliation").await?;
        ensure!(books["differences"] == 0, "{books}");
        let paid: i64 = client.lines().await?.iter().map(|line| line.units.min(0)).sum();
        let price = text(&ended["price"])?.parse::<common::money::credits::Credits>()?;
        ensure!(paid == -price.units(), "{paid} paid, it costs {price}");
        harness::books::check(&market.books().await?).await
    })
    .await
}
