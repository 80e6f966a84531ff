//! Tokens with which an operator's nodes join.

use std::sync::Arc;

use serde::Serialize;
use warp::Filter as _;

use super::call::{Call, call};
use super::error::Result;
use super::{Doors, Route, reply};
use crate::store::nodes;

#[derive(Serialize)]
struct TokenOut {
    token: String,
}

pub fn routes(doors: &Arc<Doors>) -> Route {
    warp::path!("nodes" / "tokens")
        .and(warp::post())
        .and(call(doors))
        .then(issue)
        .map(reply::json_reply)
        .boxed()
}

/// Makes a one-time token, good for an hour.
async fn issue(call: Call) -> Result<TokenOut> {
    let caller = call.caller().await?;
    let token = nodes::issue_token(&call.app().db, caller.workspace).await?;
    Ok(TokenOut { token })
}
