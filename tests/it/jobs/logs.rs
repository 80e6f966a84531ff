//! The logs of a server and its node, followed from a request to the line of the statement.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use harness::client::COMPLETE;
use harness::market::{Market, Shape};
use harness::package::Package;
use harness::wait::until;

/// The lines of a log, without what the process has said on its standard output.
fn lines(log: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(log)?;
    // The last line may not be whole yet.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let logged = whole.lines().filter(|line| !line.starts_with("fanfold "));
    logged.map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

/// Waits for a line with this message, and with these values among its fields or its spans' fields.
async fn line(log: &Path, message: &str, fields: &[(&str, &Value)]) -> Result<Value> {
    let has = |line: &Value, (name, value): &(&str, &Value)| {
        let spans = line["spans"].as_array().into_iter().flatten();
        spans.chain([line]).any(|fields| fields[name] == **value)
    };
    let what = format!("{message:?} with {fields:?} in {}", log.display());
    until(&what, async || {
        let found = lines(log)?
            .into_iter()
            .find(|line| line["message"] == message && fields.iter().all(|field| has(line, field)));
        Ok(found)
    })
    .await
}

#[tokio::test]
async fn log_leads_from_a_request_to_the_container_and_the_statement() -> Result<()> {
    let shape = Shape::nodes(1).set("LOG_FORMAT", "json");
    Market::open(shape, async |market, client| {
        client.push(&Package::app("copy", "echo done > \"$TASK_RESULTS_DIR/out.txt\"")).await?;
        client.template("passthrough", "copy", "passthrough").await?;
        let order = json!({"templateId": "copy", "dataSource": {"dataSourceDescriptor": "bypass"},
                           "dataDestination": {"dataSourceDescriptor": "bucket"}});
        let job = client.create(order).await?;
        let request = client.request(Method::POST, &format!("/v1/customer/jobs/{job}/run"));
        let answer = request.header("x-request-id", "forged").json(&json!({})).send().await?;
        ensure!(answer.status() == 200, "{answer:?}");
        let id = json!(answer.headers().get("x-request-id").context("an id")?.to_str()?);
        ensure!(id != "forged", "nobody is a trusted proxy here");
        client.reached(&job, COMPLETE).await?;

        let (server, node) = (market.log("server"), market.log("node-0"));
        let access = line(&server, "request ended", &[("request_id", &id)]).await?;
        assert_eq!((&access["target"], &access["status"]), (&json!("access"), &json!(200)));
        assert_eq!(access["route"], "/v1/customer/jobs/{jobId}/run");
        let started = [("request_id", &id), ("job", &json!(job))];
        let run = line(&server, "run accepted", &started).await?["run"].take();
        let of_run = ("run", &run);
        line(&server, "stage opened", &[of_run, ("kind", &json!("tasks"))]).await?;
        let leased = line(&server, "task leased", &[of_run, ("attempt", &json!(1))]).await?;
        let task = [of_run, ("task", &leased["task"]), ("node", &leased["node"])];
        line(&node, "attempt started", &task).await?;
        let ended = line(&node, "container ended", &task).await?;
        assert_eq!((&ended["code"], &ended["ending"]), (&json!(0), &json!("exited")), "{ended}");
        assert!(ended["wall_ms"].is_u64() && ended["cpu_ms"].is_u64(), "{ended}");
        let accepted = line(&server, "receipt accepted", &task).await?;
        let ended = line(&server, "run ended", &[of_run]).await?;
        assert_eq!((&ended["state"], &ended["price"]), (&json!("succeeded"), &accepted["price"]));
        let paid = line(&server, "statement line written", &[of_run]).await?;
        let amount = format!("-{}", accepted["price"].as_str().context("a price")?);
        assert_eq!((&paid["kind"], &paid["amount"]), (&json!("payment"), &json!(amount)));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn failed_attempt_is_logged_with_its_cause_by_both_sides() -> Result<()> {
    let shape = Shape::nodes(1).set("LOG_FORMAT", "json");
    Market::open(shape, async |market, client| {
        client.push(&Package::app("bad", "exit 7")).await?;
        client.template("passthrough", "bad", "passthrough").await?;
        let order = json!({"templateId": "bad", "dataSource": {"dataSourceDescriptor": "bypass"},
                           "dataDestination": {"dataSourceDescriptor": "bucket"}});
        let job = client.start(order, None).await?;
        client.failure(&job).await?;

        let accepted = line(&market.log("server"), "run accepted", &[("job", &json!(job))]).await?;
        let of_run = [("run", &accepted["run"])];
        let failed = line(&market.log("server"), "attempt failed", &of_run).await?;
        assert!(failed["error"].as_str().is_some_and(|error| error.contains("exit code 7")));
        let attempt = [of_run[0], ("task", &failed["task"]), ("attempt", &failed["attempt"])];
        let ended = line(&market.log("node-0"), "container ended", &attempt).await?;
        assert_eq!(ended["code"], 7, "{ended}");
        let ended = line(&market.log("server"), "run ended", &of_run).await?;
        assert!(ended["error"].as_str().is_some_and(|error| error.contains("exit code 7")));
        Ok(())
    })
    .await
}
