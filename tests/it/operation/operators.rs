//! What an operator is told of nodes, and how one is put out.

use std::time::Duration;

use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use harness::market::{Market, Shape};
use harness::package::Package;
use harness::wait::until;

/// More than a busy machine needs for a node's next message.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn removed_node_exits_with_4_and_stays_listed_with_its_work() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        client.push(&Package::app("echo", "echo done > \"$TASK_RESULTS_DIR/out\"")).await?;
        client.template("replicate", "echo", "passthrough").await?;
        let order = json!({
            "templateId": "echo", "name": "echo",
            "dataSource": {"dataSourceDescriptor": "bypass"},
            "dataDestination": {"dataSourceDescriptor": "bucket"},
            "params": {"partitioner": {"num_replicas": 2}},
        });
        let id = client.start(order, None).await?;
        client.reached(&id, "JOB_STATE_COMPLETE").await?;

        let node = until("a node without work", async || {
            let node = client.get("/v1/dev/nodes").await?["nodes"][0].clone();
            Ok((node["idleReason"] == "no work is waiting").then_some(node))
        })
        .await?;
        assert_eq!((&node["state"], &node["tasksDone"]), (&json!("online"), &json!(2)), "{node}");
        assert_ne!(node["earned"], "0.00000000", "{node}");
        assert!(node["lends"]["cpuMillis"].as_u64() > Some(0), "{node}");
        market.customer(&["node", "list"]).await?;
        let id = node["id"].as_str().unwrap_or_default();
        market.customer(&["node", "status", id]).await?;
        market.node(0)?.wrote(id).await?;
        market.node(0)?.wrote("joined the server").await?;

        market.customer(&["node", "remove", id]).await?;

        let ended = market.node(0)?.ended(PATIENCE).await?;
        assert_eq!(ended.code(), Some(4));
        assert_eq!(client.get("/v1/dev/nodes").await?["nodes"], json!([]));
        let path = format!("/v1/dev/nodes/{id}");
        assert_eq!(client.refused(Method::GET, &path, json!({})).await?.status, 404);
        Ok(())
    })
    .await
}
