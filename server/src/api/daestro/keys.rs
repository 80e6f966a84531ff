//! API keys: made with a code from the caller's e-mail, shown once, listed and revoked.

use chrono::{DateTime, Utc};
use common::access::Scope;
use common::ids::ApiKeyId;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use warp::http::{Method, StatusCode};

use super::envelope::{self, Envelope, Id, JSON, Page};
use crate::api::Answer;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, raw};
use crate::api::http::shape::{integer, text};
use crate::error::{Error, Result};
use crate::people::keys::{self, ApiKey, Created, KeyIn, KeyPrefix, LIFE_SECS_MAX};
use crate::people::sign_in::CodeIn;

const PATH: &str = "/v1/client/api-key";
const NAME_CHARS_MAX: usize = 128;

pub fn routes() -> Vec<Route> {
    vec![
        raw(Method::POST, "Daestro_CreateKey", PATH, JSON, create)
            .gives::<Envelope<CreatedKey>>()
            .succeeds_with(201)
            .summary("Creates an API key; it is shown once")
            .body(vec![
                text("name", "At most 128 characters").required(),
                integer("expires_in", "Seconds; a year where it is left out"),
                text("code", "From the e-mail that a sign-in sends"),
                text("nonce", "From the sign-in"),
            ])
            .needs(Scope::KeysWrite),
        raw(Method::GET, "Daestro_ListKeys", PATH, JSON, list)
            .gives::<Envelope<Page<KeyOut>>>()
            .summary("Lists API keys, without their texts")
            .needs(Scope::KeysRead),
        raw(Method::DELETE, "Daestro_RevokeKey", format!("{PATH}/{{key}}"), JSON, revoke)
            .gives::<Envelope<Id>>()
            .summary("Revokes an API key")
            .needs(Scope::KeysWrite),
    ]
}

/// An API key without its text.
#[derive(Serialize, ToSchema)]
#[schema(as = DaestroKey)]
struct KeyOut {
    #[schema(value_type = String)]
    id: ApiKeyId,
    name: String,
    revoked: bool,
    created_at: DateTime<Utc>,
    /// When it ends; null for never.
    expires_at: Option<DateTime<Utc>>,
}

/// A key that was made.
#[derive(Serialize, ToSchema)]
#[schema(as = DaestroCreatedKey)]
struct CreatedKey {
    /// The key itself; it is shown this once.
    api_key: String,
    key: KeyOut,
}

async fn create(mut call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let name = body.line("name", NAME_CHARS_MAX)?;
    let name = name.ok_or_else(|| Error::field("name", "is missing"))?;
    let life_secs = body.number("expires_in", 1..=LIFE_SECS_MAX)?;
    let (nonce, code) = (body.text("nonce")?, body.text("code")?);
    let code = nonce.zip(code).map(|(nonce, code)| CodeIn { nonce, code });
    body.finish()?;
    let id = ApiKeyId::new(Uuid::now_v7());
    let new = KeyIn { id, prefix: KeyPrefix::default(), name, life_secs, scopes: None, code };
    match keys::create(call.app(), &caller, new).await.map_err(|error| error.about("code"))? {
        Created::New { text, key } => {
            let made = CreatedKey { api_key: text, key: key.into() };
            envelope::answer(StatusCode::CREATED, made)
        }
        Created::Before => Err(Error::NotNow("this key has been shown already".to_owned())),
    }
}

async fn list(call: Call) -> Result<Answer> {
    let found = keys::list(call.app(), &call.caller().await?).await?;
    let items: Vec<_> = found.into_iter().map(KeyOut::from).collect();
    envelope::found(Page { items, next_cursor: None })
}

async fn revoke(key: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let id: ApiKeyId = key.id("API key")?;
    keys::revoke(call.app(), &caller, id).await?;
    envelope::found(Id { id: id.to_string() })
}

impl From<ApiKey> for KeyOut {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            revoked: key.revoked,
            created_at: key.issued_at,
            expires_at: key.expires_at,
        }
    }
}
