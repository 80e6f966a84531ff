//! Runs of several steps with real containers: values, conditions, and secrets in texts.

use anyhow::{Context as _, Result, ensure};
use common::compute::container::{Command, ContainerSpec, Parts};
use common::plan::{Block, BlockId, Body, Code, ContainerTask, Group, LateText, Plan, TextPlace};
use harness::client::{Client, text};
use harness::market::{Market, Shape};
use harness::wait::until;
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};

const VALUE: &str = "WORKFLOW-SECRET-0123456789";

/// The block of a step that runs this script. `like` is a task of the same image.
fn step(like: &ContainerTask, name: &str, script: &str, late: &[(&str, &str)]) -> Result<Block> {
    let mut task = like.clone();
    let Code::Images(code) = &mut task.container.code else { anyhow::bail!("no image") };
    let mut parts = Parts::clone(&code.spec);
    let words = ["sh", "-c", script].map(str::to_owned).to_vec();
    parts.steps[0].command = Command::Line(words);
    code.spec = ContainerSpec::new(parts)?;
    for (variable, template) in late {
        let place = TextPlace::Variable { program: None, name: (*variable).to_owned() };
        code.late.push(LateText { place, text: template.parse()? });
    }
    Ok(Block::new(name, Body::Container(Box::new(task))))
}

/// Three steps: a value, its reader, and one that is skipped.
fn plan(like: &ContainerTask) -> Result<Plan> {
    let of = [1, 2, 3].map(BlockId::new).to_vec();
    let first = "printf 'hello {{ secrets.key }}' > $FANFOLD_OUTPUT; echo first";
    let second = "echo \"got $GOT, $SECRET\"; test \"$SECRET\" = WORKFLOW-SECRET-0123456789";
    let late =
        [("GOT", "{{ tasks.greeting }} of {{ inputs.who }}"), ("SECRET", "{{ secrets.key }}")];
    let blocks = vec![
        Block::new("run", Body::Group(Group::sequence(of))),
        Block { var: Some("greeting".parse()?), ..step(like, "first", first, &[])? },
        step(like, "second", second, &late)?,
        Block {
            when: Some("{{ tasks.greeting == '' }}".parse()?),
            ..step(like, "third", "exit 1", &[])?
        },
    ];
    Ok(Plan::new(blocks)?.with_output("{{ tasks.greeting }}".parse()?)?)
}

/// Puts another plan in place of the only one that is stored, while the server is away.
async fn replace_plan(market: &Market) -> Result<()> {
    let url = format!("sqlite://{}", market.database().display());
    let db = sea_orm::Database::connect(url).await?;
    let of = |sql: String| Statement::from_string(db.get_database_backend(), sql);
    let row = db.query_one_raw(of("SELECT body FROM plans".to_owned())).await?;
    let body: String = row.context("a plan")?.try_get("", "body")?;
    let stored: Plan = serde_json::from_str(&body)?;
    let like = stored.container_tasks().next().context("a container")?;
    let plan = serde_json::to_string(&plan(like)?)?.replace('\'', "''");
    let scope = json!({ "inputs": { "who": "us" }, "secrets": { "key": "KEY" } });
    db.execute_raw(of(format!("UPDATE plans SET body = '{plan}'"))).await?;
    db.execute_raw(of(format!("UPDATE runs SET scope = '{scope}'"))).await?;
    db.close().await?;
    Ok(())
}

async fn lines(client: &Client, run: &str) -> Result<Vec<String>> {
    let logs = client.get(&format!("/v1/runs/{run}/logs?level=container")).await?;
    let lines = logs["lines"].as_array().context("lines")?;
    lines.iter().map(|line| text(&line["text"])).collect()
}

#[tokio::test]
async fn workflow_step_reads_the_value_of_the_one_before_it() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        let secret = json!({"secret": {"id": "KEY", "secretType": "other"}, "secretKey": VALUE});
        client.post("/v1/auth/secrets", secret).await?;
        // It begins when the server is back, and follows another plan by then.
        let start_at = chrono::Utc::now() + chrono::TimeDelta::seconds(6);
        let container = json!({ "image": harness::busybox::IMAGE, "command": ["true"] });
        let draft = json!({ "container": container, "start_at": start_at.to_rfc3339() });
        let job = text(&client.post("/v1/jobs", draft).await?["id"])?;
        let run = client.post(&format!("/v1/jobs/{job}/runs"), json!({})).await?;
        let run = text(&run["run"]["id"])?;
        market.kill_server()?;
        replace_plan(market).await?;
        market.start_server().await?;
        let client = market.client().await?;

        let ended: Value = until("the end of the run", async || {
            let found = client.get(&format!("/v1/runs/{run}")).await?;
            let state = text(&found["state"])?;
            Ok((state == "succeeded" || state == "failed").then_some(found))
        })
        .await?;

        ensure!(ended["state"] == "succeeded", "{ended}");
        let lines = lines(&client, &run).await?;
        // A value that looks like an expression is text.
        let second = "got hello {{ secrets.key }} of us, ***";
        ensure!(lines == ["first", second], "{lines:?}");
        let stages = client.get(&format!("/v1/runs/{run}/stages")).await?;
        let states = stages["stages"].as_array().context("stages")?;
        let states: Vec<&Value> = states.iter().map(|stage| &stage["state"]).collect();
        ensure!(states == ["done", "done", "done", "skipped"], "{stages}");
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
