//! An operator's nodes, and the tokens with which they join.

use chrono::{DateTime, Utc};
use common::access::Scope;
use common::compute::resources::Resources;
use common::ids::NodeId;
use common::money::credits::Credits;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, delete, get, post};
use crate::error::Result;
use crate::nodes::{self, Node, idle_reason};

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_ListNodes", "/nodes", list)
            .summary("Lists the workspace's nodes, the newest first")
            .needs(Scope::NodesRead),
        post("Fanfold_CreateNodeToken", "/nodes/tokens", create_token)
            .creates()
            .summary("Creates a token with which one node joins the workspace")
            .needs(Scope::NodesWrite),
        get("Fanfold_GetNode", "/nodes/{node}", read)
            .summary("Gets a node: what it does, what it has earned, and why it is idle")
            .needs(Scope::NodesRead),
        delete("Fanfold_RemoveNode", "/nodes/{node}", remove)
            .summary("Removes a node; its tasks go to other nodes")
            .needs(Scope::NodesWrite),
    ]
}

/// All nodes of the workspace.
#[derive(Serialize, ToSchema)]
struct NodeList {
    /// The newest first.
    nodes: Vec<NodeOut>,
    /// Always null: the list is whole.
    next_cursor: Option<String>,
}

/// A donor's agent.
#[derive(Serialize, ToSchema)]
#[schema(as = Node)]
struct NodeOut {
    /// Follows from its key.
    #[schema(value_type = String)]
    id: NodeId,
    /// What its owner calls it.
    label: String,
    state: NodeStateOut,
    /// When it joined the workspace.
    joined_at: DateTime<Utc>,
    /// When it was heard last; null for one that was not heard since the server started, or for a
    /// day.
    heard_at: Option<DateTime<Utc>>,
    /// Where it is, in its owner's words.
    region: String,
    /// What it lends; null while it is silent.
    lends: Option<NodeResources>,
    /// What its tasks take of that now.
    used: Option<NodeResources>,
    /// The GPUs that it lends, by name.
    gpus: Vec<String>,
    /// Tasks that it has now.
    tasks_running: usize,
    /// Attempts that were paid for.
    tasks_done: u64,
    /// What they have earned in all, in credits.
    #[schema(value_type = String)]
    earned: Credits,
    /// Why it has no work; null where it has some.
    idle: Option<String>,
}

/// Whether the server hears a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = NodeHearing)]
enum NodeStateOut {
    Online,
    Silent,
}

/// Parts of a machine.
#[derive(Serialize, ToSchema)]
#[schema(as = Resources)]
pub struct NodeResources {
    /// Thousandths of a vCPU.
    cpu_millis: u32,
    /// Memory in MiB.
    memory_mib: u32,
    /// Disk in MiB.
    disk_mib: u32,
}

/// A token with which one node joins.
#[derive(Serialize, ToSchema)]
struct NodeToken {
    /// Good once and for an hour; it is shown this once.
    token: String,
    /// Where nodes join.
    servers: Vec<String>,
}

/// What was removed.
#[derive(Serialize, ToSchema)]
struct RemovedNode {
    #[schema(value_type = String)]
    id: NodeId,
}

async fn list(call: Call) -> Result<NodeList> {
    let caller = call.caller().await?;
    let _permit = call.answer_permit(&caller).await;
    let found = nodes::list(call.app(), &caller).await?;
    Ok(NodeList { nodes: found.into_iter().map(NodeOut::from).collect(), next_cursor: None })
}

async fn read(node: Segment, call: Call) -> Result<NodeOut> {
    let caller = call.caller().await?;
    Ok(nodes::find(call.app(), &caller, node.id("node")?).await?.into())
}

async fn remove(node: Segment, call: Call) -> Result<RemovedNode> {
    let caller = call.caller().await?;
    let id = node.id("node")?;
    nodes::remove(call.app(), &caller, id).await?;
    Ok(RemovedNode { id })
}

async fn create_token(mut call: Call) -> Result<NodeToken> {
    let caller = call.caller().await?;
    let body = call.bytes(BODY_BYTES_MAX).await?;
    if idempotency::new_id(&call, &caller, &body).await?.again {
        return Err(idempotency::shown_already("a token (good for an hour)"));
    }
    let token = nodes::issue_token(call.app(), &caller).await?;
    Ok(NodeToken { token, servers: call.app().settings.node_addresses.clone() })
}

impl From<Node> for NodeOut {
    fn from(node: Node) -> Self {
        let Node { id, joined_at, device, heard_at, live, tasks_done, earned } = node;
        Self {
            id,
            label: device.label,
            state: if live.is_some() { NodeStateOut::Online } else { NodeStateOut::Silent },
            joined_at,
            heard_at,
            region: device.region,
            lends: live.map(|live| live.capacity.into()),
            used: live.map(|live| live.used.into()),
            gpus: device.gpus,
            tasks_running: live.map_or(0, |live| live.tasks),
            tasks_done,
            earned,
            idle: Some(idle_reason(live)).filter(|reason| !reason.is_empty()),
        }
    }
}

impl From<Resources> for NodeResources {
    fn from(of: Resources) -> Self {
        Self { cpu_millis: of.cpu_millis, memory_mib: of.memory_mib, disk_mib: of.disk_mib }
    }
}
