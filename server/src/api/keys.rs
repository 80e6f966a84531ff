//! API keys: made with a code from the caller's e-mail, shown once, listed and revoked.

use chrono::{DateTime, TimeDelta, Utc};
use common::ids::{ApiKeyId, UserId};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::call::{Call, Segment};
use super::error::{Error, Result};
use super::reply::{Done, done};
use super::route::{Route, get, post};
use super::shape::{integer, text};

use crate::clock;
use crate::store::api_keys::{self, ApiKey};
use crate::store::{accounts, codes};

const NAME_CHARS_MAX: usize = 128;
/// A year, in seconds.
const LIFE_DEFAULT: u64 = 365 * 24 * 3600;
const LIFE_MAX: u64 = 10 * LIFE_DEFAULT;
const KEYS_MAX: u64 = 1_000;

pub fn routes() -> Vec<Route> {
    vec![
        post("Auth_CreateApiKey", "/api_key", create)
            .summary("Makes an API key, which this answer alone shows")
            .body(vec![
                text("name", "").required(),
                text("code", "From the e-mail that signin sends").required(),
                text("nonce", "From signin").required(),
                integer("duration", "Seconds that the key is valid; 0 is for ever"),
            ]),
        get("Auth_ListApiKeys", "/api_keys", list).summary("Lists the workspace's API keys"),
        post("Auth_RevokeApiKey", "/api_keys/{id}/revoke", revoke).summary("Ends an API key"),
    ]
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct KeyOut {
    #[schema(value_type = String)]
    id: ApiKeyId,
    name: String,
    issued_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    #[schema(value_type = String)]
    user_id: UserId,
    revoked: bool,
    fingerprint: String,
}

/// Makes a key. It takes a code that was sent to the caller's address (`POST /signin` sends one);
/// only the owner of a server, who may have no address, needs none.
async fn create(mut call: Call) -> Result<Value> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let field = body.name("name");
    let name = body.line("name", NAME_CHARS_MAX)?;
    let name = name.ok_or_else(|| Error::field(field, "is missing"))?;
    let life = body.number("duration", 1..=LIFE_MAX)?.unwrap_or(LIFE_DEFAULT);
    let (nonce, code) = (body.text("nonce")?, body.text("code")?);
    body.finish()?;
    let app = call.app();
    let user = accounts::find_user(&app.db, caller.workspace, caller.user)
        .await?
        .ok_or(Error::Unauthenticated)?;
    if !user.email.is_empty() {
        call.doors().codes.take(&format!("tried {}", user.email))?;
        let (Some(nonce), Some(code)) = (nonce, code) else {
            return Err(Error::field("code", "is missing, or its nonce: POST /signin sends one"));
        };
        if codes::redeem(&app.db, &user.email, &nonce, code.trim()).await?.is_none() {
            return Err(Error::Forbidden("code: is wrong, or too old, or was used".to_owned()));
        }
    }
    let ends = clock::now() + TimeDelta::seconds(life.cast_signed());
    let (token, key) =
        api_keys::issue_until(&app.db, caller.workspace, caller.user, &name, ends).await?;
    Ok(json!({"token": token, "apiKey": KeyOut::from(key)}))
}

async fn list(call: Call) -> Result<Value> {
    let caller = call.caller().await?;
    let found = api_keys::list(&call.app().db, caller.workspace, KEYS_MAX).await?;
    Ok(json!({"apiKeys": found.into_iter().map(KeyOut::from).collect::<Vec<_>>()}))
}

async fn revoke(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    if !api_keys::revoke(&call.app().db, caller.workspace, id.id("API key")?).await? {
        return Err(Error::not_found("API key", &id.0));
    }
    Ok(done())
}

impl From<ApiKey> for KeyOut {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            issued_at: key.issued_at,
            expires_at: key.expires_at,
            user_id: key.user,
            revoked: key.revoked,
            fingerprint: key.fingerprint,
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use super::super::testing::Door;
    use super::*;
    use crate::store::accounts::Profile;

    #[tokio::test]
    async fn a_key_is_made_listed_without_its_text_and_revoked() {
        let door = Door::open().await;

        let body = json!({"name": "ci", "duration": "3600"});
        let (status, made) = door.post("/v1/auth/api_key", body).await;

        let (text, id) = (made["token"].as_str().unwrap(), made["apiKey"]["id"].as_str().unwrap());
        assert_eq!((status, &made["apiKey"]["name"]), (200, &json!("ci")));
        assert_eq!(door.call_as(text, Method::GET, "/v1/auth/user", None).await.0, 200);
        let (_, list) = door.get("/v1/auth/api_keys").await;
        assert_eq!(list["apiKeys"][0], made["apiKey"]);
        assert!(!list.to_string().contains(text));
        let stranger = door.stranger().await;
        let revoke = format!("/v1/auth/api_keys/{id}/revoke");
        assert_eq!(door.call_as(&stranger, Method::POST, &revoke, None).await.0, 404);
        assert_eq!(door.post(&revoke, json!({})).await.0, 200);
        assert_eq!(door.call_as(text, Method::GET, "/v1/auth/user", None).await.0, 401);
        assert_eq!(door.get("/v1/auth/api_keys").await.1["apiKeys"][0]["revoked"], true);
        assert_eq!(door.post("/v1/auth/api_keys/7/revoke", json!({})).await.0, 404);
        assert_eq!(door.post("/v1/auth/api_key", json!({})).await.0, 400);
        let endless = json!({"name": "x", "duration": LIFE_MAX + 1});
        assert_eq!(door.post("/v1/auth/api_key", endless).await.0, 400);
    }

    #[tokio::test]
    async fn who_has_an_address_needs_a_code_from_it() {
        let door = Door::open().await;
        let db = &door.app.db;
        let user = accounts::sign_up(db, "a@b.c", &Profile::default()).await.unwrap();
        let key = api_keys::issue(db, user.workspace, user.id, "first").await.unwrap();
        let sent = codes::issue(db, "a@b.c", None).await.unwrap();
        let others = codes::issue(db, "x@y.z", None).await.unwrap();
        let ask = async |nonce: &str, code: &str| {
            let body = json!({"name": "n", "nonce": nonce, "code": code});
            door.call_as(&key, Method::POST, "/v1/auth/api_key", Some(body)).await.0
        };

        assert_eq!(ask("", "").await, 400);
        assert_eq!(ask(&sent.nonce, "x").await, 403);
        assert_eq!(ask(&others.nonce, &others.code).await, 403);
        assert_eq!(ask(&sent.nonce, &sent.code).await, 200);
        assert_eq!(ask(&sent.nonce, &sent.code).await, 403);
    }
}
