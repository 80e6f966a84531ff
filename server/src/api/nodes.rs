//! Tokens with which an operator's nodes join.

use common::rights::Scope;
use serde::Serialize;
use utoipa::ToSchema;

use super::call::Call;
use super::error::Result;
use super::route::{Route, post};

use crate::store::nodes;

#[derive(Serialize, ToSchema)]
struct TokenOut {
    token: String,
}

pub fn routes() -> Vec<Route> {
    vec![
        post("Developer_CreateNodeToken", "/nodes/tokens", issue)
            .summary("Makes a token with which one node joins the workspace")
            .needs(Scope::NodesWrite),
    ]
}

/// Makes a one-time token, good for an hour.
async fn issue(call: Call) -> Result<TokenOut> {
    let caller = call.caller().await?;
    let token = nodes::issue_token(&call.app().db, caller.workspace).await?;
    Ok(TokenOut { token })
}
