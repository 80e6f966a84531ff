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

#[cfg(test)]
mod tests {
    use reqwest::Method;
    use serde_json::json;

    use super::super::testing::Door;
    use crate::store::api_keys;

    #[tokio::test]
    async fn a_key_is_exchanged_for_a_token_that_works_bare_and_as_bearer() {
        let door = Door::open().await;

        let (status, body) = door
            .call_as("", Method::POST, "/v1/auth/access_token", Some(json!({"apiKey": door.key})))
            .await;
        let token = body["token"].as_str().unwrap();

        assert_eq!((status, body["expiresIn"].as_str()), (200, Some("3600")));
        for key in [token.to_owned(), format!("Bearer {token}"), format!("Bearer {}", door.key)] {
            let (status, body) = door.call_as(&key, Method::GET, "/v1/auth/user", None).await;

            assert_eq!((status, body["user"]["username"].as_str()), (200, Some("owner")));
        }
    }

    #[tokio::test]
    async fn a_wrong_key_and_a_missing_one_are_refused() {
        let door = Door::open().await;
        let ask = |body| door.call_as("", Method::POST, "/v1/auth/access_token", Some(body));

        assert_eq!(ask(json!({"apiKey": "ff_wrong"})).await.0, 401);
        let (status, body) = ask(json!({})).await;
        assert_eq!((status, body["message"].as_str()), (400, Some("apiKey: is missing")));
    }

    #[tokio::test]
    async fn a_revoked_key_ends_its_tokens_too() {
        let door = Door::open().await;
        let (_, body) = door
            .call_as("", Method::POST, "/v1/auth/access_token", Some(json!({"apiKey": door.key})))
            .await;
        let token = body["token"].as_str().unwrap();
        let holder = api_keys::find_by_text(&door.app.db, &door.key).await.unwrap().unwrap();

        assert!(api_keys::revoke(&door.app.db, door.workspace, holder.key).await.unwrap());

        assert_eq!(door.call_as(token, Method::GET, "/v1/auth/user", None).await.0, 401);
        assert_eq!(door.get("/v1/auth/user").await.0, 401);
    }
}
