//! Asking why a job waits.

use common::ids::JobId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::bytenite::customer::states;
use crate::api::bytenite::words;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get};
use crate::error::Result;
use crate::jobs::monitoring::explain;
use crate::jobs::monitoring::explain::Why;

pub fn routes() -> Vec<Route> {
    vec![
        get("Customer_ExplainJob", "/jobs/{jobId}/explain", explain)
            .summary("Explains what a job waits for"),
    ]
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Explained {
    #[schema(value_type = String)]
    job_id: JobId,
    #[schema(value_type = words::JobState)]
    state: &'static str,
    /// Whether it waits for a node, for its start, or for a place among the server's steps.
    waiting: bool,
    /// The nodes that were looked at.
    nodes: Option<usize>,
    reasons: Vec<String>,
}

/// Explains why a job waits: what keeps how many nodes from its next task.
async fn explain(id: Segment, call: Call) -> Result<Explained> {
    let caller = call.caller().await?;
    let job_id = id.id::<JobId>("job")?;
    let (state, why) = explain::explain(call.app(), &caller, job_id).await?;
    let Why { waiting, nodes, reasons } = why;
    Ok(Explained { job_id, state: states::of(state), waiting, nodes, reasons })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::testing::TestServer;

    #[tokio::test]
    async fn job_without_a_suitable_node_has_that_reason() {
        let server = TestServer::open().await;
        let id = server.running_job().await;
        let job = format!("/v1/customer/jobs/{id}");
        let (_, at) = server.get(&format!("{job}?wait=20&state=JOB_STATE_STARTED")).await;
        assert_ne!(at["job"]["state"], "JOB_STATE_STARTED");
        for state in ["JOB_STATE_UPLOADING", "JOB_STATE_PARTITIONING"] {
            server.get(&format!("{job}?wait=20&state={state}")).await;
        }

        let (status, body) = server.get(&format!("{job}/explain")).await;

        assert_eq!((status, &body["state"]), (200, &json!("JOB_STATE_PARTITIONED")), "{body}");
        assert_eq!(body["reasons"], json!(["no node has joined"]));
        let (_, shown) = server.get(&job).await;
        assert_eq!(shown["job"]["errorMessage"], "no node has joined");
        let (_, progress) = server.get(&format!("{job}/progress")).await;
        assert_eq!(progress["error"], "no node has joined");
        let stranger = server.stranger().await;
        let path = format!("{job}/explain");
        assert_eq!(server.call_as(&stranger, reqwest::Method::GET, &path, None).await.0, 404);
    }

    #[tokio::test]
    async fn job_that_waits_for_its_start_has_that_reason() {
        let server = TestServer::open().await;
        let draft = json!({"startAt": "2027-01-31T12:00:00Z"});
        let id = server.running_job_with(draft, json!({})).await;
        let job = format!("/v1/customer/jobs/{id}");

        let (_, body) = server.get(&format!("{job}/explain")).await;

        assert_eq!((&body["state"], &body["waiting"]), (&json!("JOB_STATE_STARTED"), &json!(true)));
        assert_eq!(body["reasons"], json!(["its start is set for 2027-01-31T12:00:00Z"]));
        let (_, shown) = server.get(&job).await;
        assert_eq!(shown["job"]["errorMessage"], "its start is set for 2027-01-31T12:00:00Z");
        let (_, balance) = server.get("/v1/wallet/balance").await;
        assert_ne!(balance["totalBalance"], balance["availableBalance"]);
        assert_eq!(server.post(&format!("{job}/abort"), json!({})).await.0, 200);
        assert_eq!(server.get(&job).await.1["job"]["state"], "JOB_STATE_FAILED");
        let (_, balance) = server.get("/v1/wallet/balance").await;
        assert_eq!(balance["totalBalance"], balance["availableBalance"]);
    }
}
