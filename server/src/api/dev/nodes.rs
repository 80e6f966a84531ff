//! Tokens with which an operator's nodes join.

use common::rights::Scope;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::{BODY_BYTES_MAX, Call};
use crate::api::http::error::{Error, Result};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, post};
use crate::store::nodes;

#[derive(Serialize, ToSchema)]
struct TokenOut {
    token: String,
}

pub fn routes() -> Vec<Route> {
    vec![
        post("Developer_CreateNodeToken", "/nodes/tokens", issue)
            .creates()
            .summary("Makes a token with which one node joins the workspace")
            .needs(Scope::NodesWrite),
    ]
}

/// Makes a one-time token, good for an hour.
async fn issue(mut call: Call) -> Result<TokenOut> {
    let caller = call.caller().await?;
    let body = call.bytes(BODY_BYTES_MAX).await?;
    if idempotency::new_id(&call, &caller, &body).await?.again {
        return Err(idempotency::shown_already("a token (good for an hour)"));
    }
    if !nodes::has_room(&call.app().db, caller.workspace).await? {
        let most = nodes::NODES_MAX;
        let message = format!("this workspace has {most} nodes and unused tokens: use another");
        return Err(Error::Blocked("TOO_MANY_NODES", message));
    }
    let token = nodes::issue_token(&call.app().db, caller.workspace).await?;
    Ok(TokenOut { token })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::testing::Door;

    #[tokio::test]
    async fn workspace_with_the_most_nodes_gets_no_token_for_another() {
        let door = Door::open().await;
        for _ in 0..nodes::NODES_MAX {
            nodes::issue_token(&door.app.db, door.workspace).await.unwrap();
        }

        let (status, body) = door.post("/v1/dev/nodes/tokens", json!({})).await;

        assert_eq!(status, 400);
        assert!(body.to_string().contains("TOO_MANY_NODES"), "{body}");
    }
}
