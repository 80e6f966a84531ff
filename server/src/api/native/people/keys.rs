//! API keys: made with a code from the caller's e-mail, shown once, listed and revoked.

use chrono::{DateTime, Utc};
use common::access::{NotAScope, Scope, Scopes};
use common::ids::{ApiKeyId, UserId};
use common::package::loose::Loose;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, delete, get, post};
use crate::api::http::shape::{integer, text, texts};
use crate::error::{Error, Result};
use crate::people::keys::{self, ApiKey, Created, KeyIn, KeyPrefix, LIFE_SECS_MAX, NotAPrefix};
use crate::people::sign_in::CodeIn;

const NAME_CHARS_MAX: usize = 128;

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_ListKeys", "/keys", list)
            .summary("Lists the caller's API keys, or for an admin all keys of the workspace")
            .needs(Scope::KeysRead),
        post("Fanfold_CreateKey", "/keys", create)
            .creates()
            .summary("Creates an API key; its secret is returned once")
            .body(vec![
                text("name", "At most 128 characters").required().example("ci"),
                text("prefix", "2 to 5 small letters that its secret begins with; ff if left out"),
                integer("life_secs", "How long it is valid; a year where it is left out"),
                texts("scopes", "What it may do; all that its holder may where they are left out"),
                text("code", "From the e-mail that a sign-in sends"),
                text("nonce", "From the sign-in"),
            ])
            .needs(Scope::KeysWrite),
        delete("Fanfold_RevokeKey", "/keys/{key}", revoke)
            .summary("Revokes an API key")
            .needs(Scope::KeysWrite),
    ]
}

/// The keys that the caller may see.
#[derive(Serialize, ToSchema)]
struct KeyList {
    /// The newest first.
    keys: Vec<KeyOut>,
    /// Always null: the list is whole.
    next_cursor: Option<String>,
}

/// An API key without its text.
#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
struct KeyOut {
    #[schema(value_type = String)]
    id: ApiKeyId,
    name: String,
    /// Its holder.
    #[schema(value_type = String)]
    user: UserId,
    /// The first digits of its hash.
    fingerprint: String,
    /// Null for all that its holder's role allows.
    scopes: Option<Vec<&'static str>>,
    /// Whether it was revoked.
    is_revoked: bool,
    /// When it was made.
    issued_at: DateTime<Utc>,
    /// When it ends; null for never.
    expires_at: Option<DateTime<Utc>>,
    /// To within ten minutes.
    last_used_at: Option<DateTime<Utc>>,
}

/// A key that was made.
#[derive(Serialize, ToSchema)]
struct CreatedKey {
    /// The key itself; it is shown this once.
    secret: String,
    key: KeyOut,
}

/// What was revoked.
#[derive(Serialize, ToSchema)]
struct RevokedKey {
    #[schema(value_type = String)]
    id: ApiKeyId,
}

async fn list(call: Call) -> Result<KeyList> {
    let found = keys::list(call.app(), &call.caller().await?).await?;
    Ok(KeyList { keys: found.into_iter().map(KeyOut::from).collect(), next_cursor: None })
}

async fn create(mut call: Call) -> Result<CreatedKey> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let field = body.name("name");
    let name = body.line("name", NAME_CHARS_MAX)?;
    let name = name.ok_or_else(|| Error::field(field, "is missing"))?;
    let prefix = read_prefix(&mut body)?;
    let life_secs = body.number("life_secs", 1..=LIFE_SECS_MAX)?;
    let scopes = read_scopes(&mut body)?;
    let (nonce, code) = (body.text("nonce")?, body.text("code")?);
    let code = nonce.zip(code).map(|(nonce, code)| CodeIn { nonce, code });
    body.finish()?;
    let id = ApiKeyId::new(idempotency::new_id(&call, &caller, &bytes).await?.id);
    let new = KeyIn { id, prefix, name, life_secs, scopes, code };
    match keys::create(call.app(), &caller, new).await.map_err(|error| error.about("code"))? {
        Created::New { text, key } => Ok(CreatedKey { secret: text, key: key.into() }),
        Created::Before => {
            let made = format!("the API key {id} (revoke it if it is lost)");
            Err(idempotency::shown_already(&made))
        }
    }
}

async fn revoke(key: Segment, call: Call) -> Result<RevokedKey> {
    let caller = call.caller().await?;
    let id = key.id("API key")?;
    keys::revoke(call.app(), &caller, id).await?;
    Ok(RevokedKey { id })
}

/// What the key's secret begins with.
fn read_prefix(body: &mut Loose) -> Result<KeyPrefix> {
    let field = body.name("prefix");
    let Some(text) = body.text("prefix")? else { return Ok(KeyPrefix::default()) };
    text.parse().map_err(|bad: NotAPrefix| Error::field(field, bad.to_string()))
}

/// What the key shall be able to do; `None` where nothing is said.
fn read_scopes(body: &mut Loose) -> Result<Option<Scopes>> {
    let field = body.name("scopes");
    let named = body.texts("scopes", Scope::ALL.len())?;
    let read = |(i, text): (usize, &String)| {
        let bad = |bad: NotAScope| Error::field(format!("{field}[{i}]"), bad.to_string());
        text.parse().map_err(bad)
    };
    let scopes = named.iter().enumerate().map(read).collect::<Result<Scopes>>()?;
    Ok((!named.is_empty()).then_some(scopes))
}

impl From<ApiKey> for KeyOut {
    fn from(key: ApiKey) -> Self {
        let limited = Some(key.scopes).filter(|scopes| *scopes != Scopes::ALL);
        Self {
            id: key.id,
            name: key.name,
            user: key.user,
            fingerprint: key.fingerprint,
            scopes: limited.map(|scopes| scopes.iter().map(Scope::name).collect()),
            is_revoked: key.revoked,
            issued_at: key.issued_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
        }
    }
}
