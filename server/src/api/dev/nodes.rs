//! Tokens with which an operator's nodes join.

use common::rights::Scope;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::{BODY_BYTES_MAX, Call};
use crate::api::http::error::Result;
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
    let token = nodes::issue_token(&call.app().db, caller.workspace).await?;
    Ok(TokenOut { token })
}
