//! API keys: made with a code from the caller's e-mail, shown once, listed and revoked.

use chrono::{DateTime, TimeDelta, Utc};
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
use crate::clock;
use crate::error::{Error, Result};
use crate::people::caller::Caller;
use crate::store::people::api_keys;
use crate::store::people::api_keys::{ApiKey, New};
use crate::store::people::one_time_codes;
use crate::store::people::one_time_codes::Redeemed;
use crate::store::people::workspaces;

const NAME_CHARS_MAX: usize = 128;
/// A year, in seconds.
const LIFE_DEFAULT: u64 = 365 * 24 * 3600;
const LIFE_MAX: u64 = 10 * LIFE_DEFAULT;
const KEYS_MAX: u64 = 1_000;

pub fn routes() -> Vec<Route> {
    vec![
        post("Auth_CreateApiKey", "/api_key", create)
            .creates()
            .summary("Makes an API key, which this answer alone shows")
            .body(vec![
                text("name", "").required().example("ci"),
                text("code", "From the e-mail that signin sends"),
                text("nonce", "From signin"),
                integer("duration", "Seconds that the key is valid; a year where left out"),
                texts("scopes", "What the key may do; all that its holder may where left out"),
            ])
            .needs(Scope::KeysWrite),
        get("Auth_ListApiKeys", "/api_keys", list)
            .summary("Lists the caller's API keys, and for an admin all of the workspace")
            .needs(Scope::KeysRead),
        post("Auth_RevokeApiKey", "/api_keys/{id}/revoke", revoke)
            .summary("Ends an API key")
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
    let life = body.number("duration", 1..=LIFE_MAX)?.unwrap_or(LIFE_DEFAULT);
    let scopes = read_scopes(&mut body, &caller)?;
    let (nonce, code) = (body.text("nonce")?, body.text("code")?);
    body.finish()?;
    let app = call.app();
    let user = workspaces::find_user(&app.db, caller.user).await?.ok_or(Error::Unauthenticated)?;
    let id = ApiKeyId::new(idempotency::new_id(&call, &caller, &bytes).await?.id);
    let shown_already =
        || idempotency::shown_already(&format!("the API key {id} (revoke it if it is lost)"));
    if api_keys::is_made(&app.db, id).await? {
        return Err(shown_already());
    }
    if !user.email.is_empty() {
        let guesser = format!("{} for a key", caller.user);
        call.doors().guesses.check(&guesser)?;
        let (Some(nonce), Some(code)) = (nonce, code) else {
            return Err(Error::field("code", "is missing, or its nonce: POST /signin sends one"));
        };
        let Redeemed::Right(_) =
            one_time_codes::redeem(&app.db, &user.email, &nonce, &code).await?
        else {
            call.doors().guesses.wrong(&guesser);
            return Err(Error::Forbidden("code: is wrong, or too old, or was used".to_owned()));
        };
        call.doors().guesses.right(&guesser);
    }
    let expires_at = Some(clock::now() + TimeDelta::seconds(life.cast_signed()));
    let new = New { id, name: &name, expires_at, scopes };
    let (token, key) = api_keys::issue_new(&app.db, caller.workspace, caller.user, new)
        .await?
        .ok_or_else(shown_already)?;
    Ok(MadeOut { token, api_key: key.into() })
}

/// What the key shall be able to do; where nothing is said, what the caller's own key is. It is
/// never more, or a key with few scopes could make one with all.
fn read_scopes(body: &mut Loose, caller: &Caller) -> Result<Scopes> {
    let field = body.name("scopes");
    let named = body.texts("scopes", Scope::ALL.len())?;
    if named.is_empty() {
        return Ok(caller.made_with);
    }
    let read = |(i, text): (usize, &String)| {
        text.parse().map_err(|e: NotAScope| Error::field(format!("{field}[{i}]"), e.to_string()))
    };
    let scopes = named.iter().enumerate().map(read).collect::<Result<Scopes>>()?;
    scopes.iter().try_for_each(|scope| caller.check(scope))?;
    Ok(scopes)
}

/// An admin sees all keys of the workspace, others their own.
async fn list(call: Call) -> Result<KeysOut> {
    let caller = call.caller().await?;
    let whose = whose(&caller, Scope::MembersRead);
    let found = api_keys::list(&call.app().db, caller.workspace, whose, KEYS_MAX).await?;
    Ok(KeysOut { api_keys: found.into_iter().map(KeyOut::from).collect() })
}

async fn revoke(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let key = id.id("API key")?;
    let whose = whose(&caller, Scope::MembersWrite);
    if !api_keys::revoke(&call.app().db, caller.workspace, whose, key).await? {
        return Err(Error::not_found("API key", &id.0));
    }
    Ok(done())
}

/// Everybody's keys for who may decide on members, else the caller's own.
fn whose(caller: &Caller, all: Scope) -> Option<UserId> {
    if caller.check(all).is_ok() { None } else { Some(caller.user) }
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
    use crate::api::testing::Door;
    use crate::store::people::workspaces::Profile;

    #[tokio::test]
    async fn a_key_is_made_listed_without_its_text_and_revoked() {
        let door = Door::open().await;

        let body = json!({"name": "ci", "duration": "3600"});
        let (status, made) = door.post("/v1/auth/api_key", body).await;

        let (text, id) = (made["token"].as_str().unwrap(), made["apiKey"]["id"].as_str().unwrap());
        assert_eq!((status, &made["apiKey"]["name"]), (200, &json!("ci")));
        assert_eq!(door.call_as(text, Method::GET, "/v1/auth/user", None).await.0, 200);
        let (_, list) = door.get("/v1/auth/api_keys").await;
        assert_eq!(list["apiKeys"][0]["id"], id);
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
    async fn a_key_with_scopes_does_nothing_else_and_makes_no_greater_one() {
        let door = Door::open().await;
        let body = json!({"name": "ci", "scopes": ["jobs:read", "keys:write"]});
        let (_, made) = door.post("/v1/auth/api_key", body).await;
        assert_eq!(made["apiKey"]["scopes"], json!(["jobs:read", "keys:write"]));
        let key = made["token"].as_str().unwrap();
        let get = async |by: &str, path: &str| door.call_as(by, Method::GET, path, None).await.0;
        let post = async |by: &str, path: &str, body: serde_json::Value| {
            door.call_as(by, Method::POST, path, Some(body)).await
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
            door.post("/v1/auth/api_key", json!({"name": "x", "scopes": ["root"]})).await;
        assert_eq!(status, 400);
        assert!(body["message"].as_str().unwrap().starts_with("scopes[0]: must be one of"));
        let (_, list) = door.get("/v1/auth/api_keys").await;
        assert!(list["apiKeys"][1]["lastUsedAt"].is_string(), "{list}");
    }

    #[tokio::test]
    async fn members_see_and_end_their_own_keys_and_admins_everybodys() {
        let door = Door::open().await;
        let (_, member) = door.member(Role::User).await;
        let list = async |by: &str| {
            let (_, list) = door.call_as(by, Method::GET, "/v1/auth/api_keys", None).await;
            list["apiKeys"].as_array().unwrap().clone()
        };
        let revoke = async |by: &str, id: &serde_json::Value| {
            let path = format!("/v1/auth/api_keys/{}/revoke", id.as_str().unwrap());
            door.call_as(by, Method::POST, &path, None).await.0
        };

        let (all, own) = (list(&door.key).await, list(&member).await);

        assert_eq!((all.len(), own.len()), (2, 1));
        assert_eq!(revoke(&member, &all[1]["id"]).await, 404);
        assert_eq!(revoke(&door.key, &own[0]["id"]).await, 200);
        assert_eq!(door.call_as(&member, Method::GET, "/v1/auth/user", None).await.0, 401);
    }

    #[tokio::test]
    async fn who_has_an_address_needs_a_code_from_it() {
        let door = Door::open().await;
        let db = &door.app.db;
        let came =
            workspaces::arrive(db, "a@b.c", Some(&Profile::default())).await.unwrap().unwrap();
        let key = api_keys::issue(db, came.own.unwrap(), came.user, "first").await.unwrap();
        let sent = one_time_codes::issue(db, "a@b.c", None).await.unwrap();
        let others = one_time_codes::issue(db, "x@y.z", None).await.unwrap();
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
