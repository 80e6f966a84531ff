//! API keys: made with a code from the caller's e-mail, shown once, listed and revoked.

use chrono::{DateTime, Utc};
use common::access::{NotAScope, Scope, Scopes};
use common::ids::{ApiKeyId, UserId};
use common::package::loose::Loose;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::bytenite::wire::{Done, done};
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::{integer, text, texts};
use crate::error::{Error, Result};
use crate::people::keys;
use crate::people::keys::{ApiKey, Created, KeyIn, KeyPrefix, LIFE_SECS_MAX};
use crate::people::sign_in::CodeIn;

const NAME_CHARS_MAX: usize = 128;

pub fn routes() -> Vec<Route> {
    vec![
        post("Auth_CreateApiKey", "/api_key", create)
            .creates()
            .summary("Creates an API key; its secret is returned once")
            .body(vec![
                text("name", "").required().example("ci"),
                text("code", "From the e-mail that signin sends"),
                text("nonce", "From signin"),
                integer("duration", "Seconds that the key is valid; a year where left out"),
                texts("scopes", "What the key may do; all that its holder may where left out"),
            ])
            .needs(Scope::KeysWrite),
        get("Auth_ListApiKeys", "/api_keys", list)
            .summary("Lists the caller's API keys, or for an admin all keys of the workspace")
            .needs(Scope::KeysRead),
        post("Auth_RevokeApiKey", "/api_keys/{id}/revoke", revoke)
            .summary("Revokes an API key")
            .needs(Scope::KeysWrite),
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
    /// Empty for all that the holder's role allows.
    scopes: Vec<&'static str>,
    /// To within ten minutes.
    last_used_at: Option<DateTime<Utc>>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MadeOut {
    /// The key itself; it is shown this once.
    token: String,
    api_key: KeyOut,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct KeysOut {
    api_keys: Vec<KeyOut>,
}

/// Makes a key. It takes a code that was sent to the caller's address (`POST /signin` sends one);
/// only the owner of a server, who may have no address, needs none.
async fn create(mut call: Call) -> Result<MadeOut> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let field = body.name("name");
    let name = body.line("name", NAME_CHARS_MAX)?;
    let name = name.ok_or_else(|| Error::field(field, "is missing"))?;
    let life_secs = body.number("duration", 1..=LIFE_SECS_MAX)?;
    let scopes = read_scopes(&mut body)?;
    let (nonce, code) = (body.text("nonce")?, body.text("code")?);
    let code = nonce.zip(code).map(|(nonce, code)| CodeIn { nonce, code });
    body.finish()?;
    let id = ApiKeyId::new(idempotency::new_id(&call, &caller, &bytes).await?.id);
    let new = KeyIn { id, prefix: KeyPrefix::default(), name, life_secs, scopes, code };
    match keys::create(call.app(), &caller, new).await.map_err(|error| error.about("code"))? {
        Created::New { text, key } => Ok(MadeOut { token: text, api_key: key.into() }),
        Created::Before => {
            let made = format!("the API key {id} (revoke it if it is lost)");
            Err(idempotency::shown_already(&made))
        }
    }
}

/// What the key shall be able to do; `None` where nothing is said.
fn read_scopes(body: &mut Loose) -> Result<Option<Scopes>> {
    let field = body.name("scopes");
    let named = body.texts("scopes", Scope::ALL.len())?;
    let read = |(i, text): (usize, &String)| {
        text.parse().map_err(|e: NotAScope| Error::field(format!("{field}[{i}]"), e.to_string()))
    };
    let scopes = named.iter().enumerate().map(read).collect::<Result<Scopes>>()?;
    Ok((!named.is_empty()).then_some(scopes))
}

/// An admin sees all keys of the workspace, others their own.
async fn list(call: Call) -> Result<KeysOut> {
    let found = keys::list(call.app(), &call.caller().await?).await?;
    Ok(KeysOut { api_keys: found.into_iter().map(KeyOut::from).collect() })
}

async fn revoke(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    keys::revoke(call.app(), &caller, id.id("API key")?).await?;
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
            scopes: match key.scopes {
                Scopes::ALL => Vec::new(),
                some => some.iter().map(Scope::name).collect(),
            },
            last_used_at: key.last_used_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use common::access::Role;
    use reqwest::Method;
    use serde_json::json;

    use super::*;
    use crate::api::testing::TestServer;
    use crate::store::people::workspaces::Profile;
    use crate::store::people::{api_keys, one_time_codes, workspaces};

    #[tokio::test]
    async fn api_key_is_made_listed_without_its_text_and_revoked() {
        let server = TestServer::open().await;

        let body = json!({"name": "ci", "duration": "3600"});
        let (status, made) = server.post("/v1/auth/api_key", body).await;

        let (text, id) = (made["token"].as_str().unwrap(), made["apiKey"]["id"].as_str().unwrap());
        assert_eq!((status, &made["apiKey"]["name"]), (200, &json!("ci")));
        assert_eq!(server.call_as(text, Method::GET, "/v1/auth/user", None).await.0, 200);
        let (_, list) = server.get("/v1/auth/api_keys").await;
        assert_eq!(list["apiKeys"][0]["id"], id);
        assert!(!list.to_string().contains(text));
        let stranger = server.stranger().await;
        let revoke = format!("/v1/auth/api_keys/{id}/revoke");
        assert_eq!(server.call_as(&stranger, Method::POST, &revoke, None).await.0, 404);
        assert_eq!(server.post(&revoke, json!({})).await.0, 200);
        assert_eq!(server.call_as(text, Method::GET, "/v1/auth/user", None).await.0, 401);
        assert_eq!(server.get("/v1/auth/api_keys").await.1["apiKeys"][0]["revoked"], true);
        assert_eq!(server.post("/v1/auth/api_keys/7/revoke", json!({})).await.0, 404);
        assert_eq!(server.post("/v1/auth/api_key", json!({})).await.0, 400);
        let endless = json!({"name": "x", "duration": LIFE_SECS_MAX + 1});
        assert_eq!(server.post("/v1/auth/api_key", endless).await.0, 400);
    }

    #[tokio::test]
    async fn api_key_with_scopes_is_limited_to_them_and_makes_no_greater_one() {
        let server = TestServer::open().await;
        let body = json!({"name": "ci", "scopes": ["jobs:read", "keys:write"]});
        let (_, made) = server.post("/v1/auth/api_key", body).await;
        assert_eq!(made["apiKey"]["scopes"], json!(["jobs:read", "keys:write"]));
        let key = made["token"].as_str().unwrap();
        let get = async |by: &str, path: &str| server.call_as(by, Method::GET, path, None).await.0;
        let post = async |by: &str, path: &str, body: serde_json::Value| {
            server.call_as(by, Method::POST, path, Some(body)).await
        };

        let exchange = json!({"apiKey": key, "scope": "jobs:read wallet:read"});
        let (_, token) = post("", "/v1/auth/access_token", exchange).await;

        assert_eq!(token["scope"], "jobs:read");
        let token = token["token"].as_str().unwrap();
        for by in [key, token] {
            assert_eq!(get(by, "/v1/auth/user").await, 200);
            assert_eq!(get(by, "/v1/customer/jobs").await, 200);
            assert_eq!(get(by, "/v1/wallet/balance").await, 403);
            let (status, body) = post(by, "/v1/customer/jobs", json!({"templateId": "t"})).await;
            assert_eq!(status, 403);
            assert!(body["message"].as_str().unwrap().contains("jobs:write"), "{body}");
        }
        let (greater, same) =
            (json!({"name": "x", "scopes": ["wallet:read"]}), json!({"name": "x"}));
        assert_eq!(post(key, "/v1/auth/api_key", greater.clone()).await.0, 403);
        assert_eq!(post(token, "/v1/auth/api_key", same.clone()).await.0, 403);
        let (_, same) = post(key, "/v1/auth/api_key", same).await;
        assert_eq!(same["apiKey"]["scopes"], json!(["jobs:read", "keys:write"]));
        let (status, body) =
            server.post("/v1/auth/api_key", json!({"name": "x", "scopes": ["root"]})).await;
        assert_eq!(status, 400);
        assert!(body["message"].as_str().unwrap().starts_with("scopes[0]: must be one of"));
        let (_, list) = server.get("/v1/auth/api_keys").await;
        assert!(list["apiKeys"][1]["lastUsedAt"].is_string(), "{list}");
    }

    #[tokio::test]
    async fn api_keys_are_managed_by_their_member_and_by_admins() {
        let server = TestServer::open().await;
        let (_, member) = server.member(Role::User).await;
        let list = async |by: &str| {
            let (_, list) = server.call_as(by, Method::GET, "/v1/auth/api_keys", None).await;
            list["apiKeys"].as_array().unwrap().clone()
        };
        let revoke = async |by: &str, id: &serde_json::Value| {
            let path = format!("/v1/auth/api_keys/{}/revoke", id.as_str().unwrap());
            server.call_as(by, Method::POST, &path, None).await.0
        };

        let (all, own) = (list(&server.key).await, list(&member).await);

        assert_eq!((all.len(), own.len()), (2, 1));
        assert_eq!(revoke(&member, &all[1]["id"]).await, 404);
        assert_eq!(revoke(&server.key, &own[0]["id"]).await, 200);
        assert_eq!(server.call_as(&member, Method::GET, "/v1/auth/user", None).await.0, 401);
    }

    #[tokio::test]
    async fn api_key_of_a_user_with_an_address_requires_a_code_sent_to_it() {
        let server = TestServer::open().await;
        let db = &server.app.db;
        let came =
            workspaces::arrive(db, "a@b.c", Some(&Profile::default())).await.unwrap().unwrap();
        let key = api_keys::issue(db, came.own.unwrap(), came.user, "first").await.unwrap();
        let sent = one_time_codes::issue(db, "a@b.c", None).await.unwrap();
        let others = one_time_codes::issue(db, "x@y.z", None).await.unwrap();
        let ask = async |nonce: &str, code: &str| {
            let body = json!({"name": "n", "nonce": nonce, "code": code});
            server.call_as(&key, Method::POST, "/v1/auth/api_key", Some(body)).await.0
        };

        assert_eq!(ask("", "").await, 400);
        assert_eq!(ask(&sent.nonce, "x").await, 403);
        assert_eq!(ask(&others.nonce, &others.code).await, 403);
        assert_eq!(ask(&sent.nonce, &sent.code).await, 200);
        assert_eq!(ask(&sent.nonce, &sent.code).await, 403);
    }
}
