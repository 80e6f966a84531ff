//! Access tokens for API keys, and who the caller is.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use common::ids::UserId;
use serde::Serialize;
use warp::Filter as _;

use super::call::{Call, call};
use super::error::{Error, Result};
use super::{Doors, Route, any_of, reply, token};
use crate::clock;
use crate::store::{accounts, api_keys};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenOut {
    token: String,
    expires_in: String,
    scope: &'static str,
}

#[derive(Serialize)]
struct UserAnswer {
    user: UserOut,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserOut {
    id: UserId,
    created_at: DateTime<Utc>,
    last_login: Option<DateTime<Utc>>,
    username: String,
    display_name: String,
    email: String,
    photo_url: &'static str,
    provider_id: &'static str,
    email_verified: bool,
    custom_claims: Option<()>,
    role: &'static str,
    first_name: &'static str,
    last_name: &'static str,
    contact_info: Option<()>,
}

pub fn routes(doors: &Arc<Doors>) -> Route {
    let access_token = warp::path!("access_token")
        .and(warp::post())
        .and(call(doors))
        .then(access_token)
        .map(reply::json_reply)
        .boxed();
    let user = warp::path!("user")
        .and(warp::get())
        .and(call(doors))
        .then(user)
        .map(reply::json_reply)
        .boxed();
    any_of([access_token, user])
}

/// Exchanges an API key for an access token.
async fn access_token(mut call: Call) -> Result<TokenOut> {
    let mut body = call.json().await?;
    let api_key = body.required_text("apiKey")?;
    let app = call.app();
    let holder = api_keys::find_by_text(&app.db, &api_key).await?.ok_or(Error::Unauthenticated)?;
    let token = token::issue(&app.settings.token_key, holder, clock::now())?;
    Ok(TokenOut { token, expires_in: token::LIFE_SECS.to_string(), scope: "" })
}

/// Tells who calls.
async fn user(call: Call) -> Result<UserAnswer> {
    let caller = call.caller().await?;
    let user = accounts::find_user(&call.app().db, caller.workspace, caller.user)
        .await?
        .ok_or(Error::Unauthenticated)?;
    Ok(UserAnswer {
        user: UserOut {
            id: user.id,
            created_at: user.created_at,
            last_login: None,
            display_name: user.username.clone(),
            username: user.username,
            email: user.email,
            photo_url: "",
            provider_id: "",
            email_verified: false,
            custom_claims: None,
            role: "ROLE_DEVELOPER",
            first_name: "",
            last_name: "",
            contact_info: None,
        },
    })
}
