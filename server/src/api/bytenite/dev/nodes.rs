//! An operator's nodes, and the tokens with which they join.

use chrono::{DateTime, Utc};
use common::access::Scope;
use common::compute::resources::Resources;
use common::ids::NodeId;
use common::money::credits::Credits;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::bytenite::wire::{Done, done};
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, delete, get, post};
use crate::error::Result;
use crate::nodes::{self, Node, idle_reason};

#[derive(Serialize, ToSchema)]
struct TokenOut {
    /// Good once and for an hour.
    token: String,
    /// Where nodes join.
    servers: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct NodesOut {
    /// The newest first.
    nodes: Vec<NodeOut>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NodeOut {
    /// Its id, which follows from its key.
    #[schema(value_type = String)]
    id: NodeId,
    /// What its owner calls it.
    label: String,
    /// Whether the server hears it.
    state: NodeState,
    /// When it joined the workspace.
    joined_at: DateTime<Utc>,
    /// When it was heard last; null for one that was not heard since the server started, or for a
    /// day.
    heard_at: Option<DateTime<Utc>>,
    /// Where it is, in its owner's words.
    region: String,
    /// What it lends; null while it is silent.
    lends: Option<ResourcesOut>,
    /// What its tasks take of that now.
    used: Option<ResourcesOut>,
    /// The GPUs that it lends, by name.
    gpus: Vec<String>,
    /// Tasks that it has now.
    tasks_running: usize,
    /// Attempts that were paid for.
    tasks_done: u64,
    /// What they have earned in all; the wallet's balance says what of it is still pending.
    #[schema(value_type = String)]
    earned: Credits,
    /// Why it has no work; empty where it has some.
    idle_reason: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum NodeState {
    Online,
    Silent,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ResourcesOut {
    /// Thousandths of a CPU.
    cpu_millis: u32,
    /// Memory in MiB.
    memory_mib: u32,
    /// Disk in MiB.
    disk_mib: u32,
}

pub fn routes() -> Vec<Route> {
    vec![
        get("Developer_ListNodes", "/nodes", list)
            .summary(
                "Lists the workspace's nodes: what each does, what it has earned, and why it is idle",
            )
            .needs(Scope::NodesRead),
        get("Developer_GetNode", "/nodes/{nodeId}", read)
            .summary("Gets a node")
            .needs(Scope::NodesRead),
        delete("Developer_RemoveNode", "/nodes/{nodeId}", remove)
            .summary("Removes a node; its tasks go to other nodes")
            .needs(Scope::NodesWrite),
        post("Developer_CreateNodeToken", "/nodes/tokens", issue)
            .creates()
            .summary("Creates a token with which one node joins the workspace")
            .needs(Scope::NodesWrite),
    ]
}

async fn list(call: Call) -> Result<NodesOut> {
    let caller = call.caller().await?;
    let found = nodes::list(call.app(), &caller).await?;
    Ok(NodesOut { nodes: found.into_iter().map(NodeOut::from).collect() })
}

async fn read(id: Segment, call: Call) -> Result<NodeOut> {
    let caller = call.caller().await?;
    Ok(nodes::find(call.app(), &caller, id.id("node")?).await?.into())
}

async fn remove(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    nodes::remove(call.app(), &caller, id.id("node")?).await?;
    Ok(done())
}

async fn issue(mut call: Call) -> Result<TokenOut> {
    let caller = call.caller().await?;
    let body = call.bytes(BODY_BYTES_MAX).await?;
    if idempotency::new_id(&call, &caller, &body).await?.again {
        return Err(idempotency::shown_already("a token (good for an hour)"));
    }
    let token = nodes::issue_token(call.app(), &caller).await?;
    Ok(TokenOut { token, servers: call.app().settings.node_addresses.clone() })
}

impl From<Node> for NodeOut {
    fn from(node: Node) -> Self {
        let Node { id, joined_at, device, heard_at, live, tasks_done, earned } = node;
        let resources = |of: Resources| ResourcesOut {
            cpu_millis: of.cpu_millis,
            memory_mib: of.memory_mib,
            disk_mib: of.disk_mib,
        };
        Self {
            id,
            label: device.label,
            state: if live.is_some() { NodeState::Online } else { NodeState::Silent },
            joined_at,
            heard_at,
            region: device.region,
            lends: live.map(|live| resources(live.capacity)),
            used: live.map(|live| resources(live.used)),
            gpus: device.gpus,
            tasks_running: live.map_or(0, |live| live.tasks),
            tasks_done,
            earned,
            idle_reason: idle_reason(live),
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Method;
    use serde_json::json;

    use crate::api::testing::TestServer;
    use crate::store::nodes;

    #[tokio::test]
    async fn workspace_with_the_most_nodes_gets_no_token_for_another() {
        let server = TestServer::open().await;
        for _ in 0..nodes::NODES_MAX {
            nodes::issue_token(&server.app.db, server.workspace).await.unwrap();
        }

        let (status, body) = server.post("/v1/dev/nodes/tokens", json!({})).await;

        assert_eq!(status, 400);
        assert!(body.to_string().contains("TOO_MANY_NODES"), "{body}");
    }

    #[tokio::test]
    async fn nodes_are_listed_until_they_are_removed() {
        let server = TestServer::open().await;
        let (_, made) = server.post("/v1/dev/nodes/tokens", json!({})).await;
        let token = made["token"].as_str().unwrap();
        let node = nodes::join(&server.app.db, "peer", token).await.unwrap().unwrap();
        let path = format!("/v1/dev/nodes/{node}");

        let (status, body) = server.call(Method::GET, "/v1/dev/nodes", None).await;
        assert_eq!((status, &body["nodes"][0]["id"]), (200, &json!(node)), "{body}");
        assert_eq!(
            (&body["nodes"][0]["state"], &body["nodes"][0]["tasksDone"]),
            (&json!("silent"), &json!(0))
        );
        assert_eq!(server.call(Method::GET, &path, None).await.0, 200);

        assert_eq!(server.call(Method::DELETE, &path, None).await.0, 200);

        let (_, body) = server.call(Method::GET, "/v1/dev/nodes", None).await;
        assert_eq!(body["nodes"], json!([]));
        for method in [Method::GET, Method::DELETE] {
            assert_eq!(server.call(method, &path, None).await.0, 404);
        }
    }
}
