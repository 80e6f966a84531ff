//! Secrets: written whole, read back without their value.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::access::Scope;
use common::package::loose::Loose;
use common::secret::{NotAKind, Purpose, SecretId, SecretKind};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, delete, get, post};
use crate::api::http::shape::{Field, date, map, text, word};
use crate::error::{Error, Result};
use crate::people::secrets::{self, Secret};

const VALUE_BYTES_MAX: usize = 64 * 1024;
const ID_CHARS_MAX: usize = 128;
const NAME_CHARS_MAX: usize = 256;
const ADDRESS_CHARS_MAX: usize = 1024;
const TYPES: [&str; 6] = ["aws", "gcp", "storj", "azure", "url", "other"];

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_ListSecrets", "/secrets", list)
            .summary("Lists secrets, without their values")
            .query(vec![word("type", &TYPES, "Those of this type")])
            .needs(Scope::SecretsRead),
        post("Fanfold_PutSecret", "/secrets", put)
            .creates()
            .summary("Creates or replaces a secret; its value is never returned")
            .body(SECRET)
            .needs(Scope::SecretsWrite),
        delete("Fanfold_DeleteSecret", "/secrets/{type}/{secret}", remove)
            .summary("Deletes a secret")
            .needs(Scope::SecretsWrite),
    ]
}

const SECRET: &[Field] = &[
    text("id", "Letters, digits, - _ and .; made where it is left out"),
    word("type", &TYPES, "What it opens; url is a user and a password").required().example("aws"),
    text("access_key", "The half that is shown: a key's id, an account or a user name")
        .example("AKIAIOSFODNN7EXAMPLE"),
    text("value", "The half that is kept secret").required().example("..."),
    text("name", "At most 256 characters"),
    text("endpoint", "The one server that it is sent to: needed for url, and for another azure"),
    map("params", "Texts for containers"),
    date("expires_at", "Never, where it is left out"),
];

/// The workspace's secrets.
#[derive(Serialize, ToSchema)]
struct SecretList {
    /// By their ids.
    secrets: Vec<SecretOut>,
    /// Always null: the list is whole.
    next_cursor: Option<String>,
}

/// A secret without its value.
#[derive(Serialize, ToSchema)]
#[schema(as = StoredSecret)]
struct SecretOut {
    id: String,
    r#type: SecretTypeOut,
    /// The half that is shown.
    access_key: String,
    name: String,
    /// The only server that it is sent to.
    endpoint: Option<String>,
    /// Texts for containers.
    params: BTreeMap<String, String>,
    /// When it ends; null for never.
    expires_at: Option<DateTime<Utc>>,
}

/// What a secret opens: buckets of `aws` and of others that speak its language, of `gcp`, `storj`
/// and `azure`, a web server (`url`), a `registry` of images, or any `other` thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = StoredSecretType)]
enum SecretTypeOut {
    Aws,
    Gcp,
    Storj,
    Azure,
    Url,
    Registry,
    Other,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
struct DeletedSecret {
    id: String,
}

async fn list(call: Call) -> Result<SecretList> {
    let caller = call.caller().await?;
    let asked = call.query()?.remove("type");
    let kind = asked.map(|kind| read_kind("type", &kind)).transpose()?;
    let found = secrets::list(call.app(), &caller, kind).await?;
    Ok(SecretList { secrets: found.into_iter().map(SecretOut::from).collect(), next_cursor: None })
}

async fn put(mut call: Call) -> Result<SecretOut> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let value = body.required_text("value")?;
    if value.len() > VALUE_BYTES_MAX {
        return Err(Error::field("value", format!("must have at most {VALUE_BYTES_MAX} bytes")));
    }
    let secret = read(body, idempotency::new_id(&call, &caller, &bytes).await?.id)?;
    secrets::keep(call.app(), &caller, &secret, &value).await?;
    Ok(secret.into())
}

async fn remove(kind: Segment, secret: Segment, call: Call) -> Result<DeletedSecret> {
    let caller = call.caller().await?;
    let unknown = || Error::not_found("secret", &secret.0);
    let kind = kind.0.parse().map_err(|_: NotAKind| unknown())?;
    let id = SecretId::named(&secret.0).map_err(|_| unknown())?;
    if !secrets::delete(call.app(), &caller, kind, &id).await? {
        return Err(unknown());
    }
    Ok(DeletedSecret { id: secret.0 })
}

/// `fresh` becomes the id of a secret that names none.
fn read(mut body: Loose, fresh: Uuid) -> Result<Secret> {
    let field = body.name("type");
    let kind = read_kind(&field, &body.required_text("type")?)?;
    let field = body.name("access_key");
    let access_key = match body.line("access_key", VALUE_BYTES_MAX)? {
        // Such a secret has one half only.
        None if kind == SecretKind::Other => String::new(),
        None => return Err(Error::field(field, "is missing")),
        Some(access_key) => access_key,
    };
    let field = body.name("id");
    let id = body.line("id", ID_CHARS_MAX)?.unwrap_or_else(|| fresh.to_string());
    let id = SecretId::named(&id).map_err(|bad| Error::field(field, bad.to_string()))?;
    let field = body.name("endpoint");
    let endpoint = body.line("endpoint", ADDRESS_CHARS_MAX)?;
    let purpose = Purpose::read(kind, endpoint.as_deref())
        .map_err(|unbound| Error::field(field, unbound.to_string()))?;
    let name = body.line("name", NAME_CHARS_MAX)?.unwrap_or_default();
    let expires_at = read_expiry(&mut body)?;
    let params = read_params(&mut body)?;
    body.finish()?;
    Ok(Secret { id, purpose, name, access_key, params, expires_at })
}

fn read_expiry(body: &mut Loose) -> Result<Option<DateTime<Utc>>> {
    let field = body.name("expires_at");
    let Some(text) = body.text("expires_at")? else { return Ok(None) };
    let problem = "must be a time such as 2027-01-31T12:00:00Z";
    let time =
        DateTime::parse_from_rfc3339(&text).map_err(|_| Error::field(field.as_str(), problem))?;
    secrets::expiry(time.to_utc()).map(Some).map_err(|refused| refused.about(&field))
}

fn read_params(body: &mut Loose) -> Result<BTreeMap<String, String>> {
    let field = body.name("params");
    let mut params = BTreeMap::new();
    for (key, value) in body.params("params")?.unwrap_or_default() {
        let Value::String(text) = value.value() else {
            return Err(Error::field(format!("{field}.{key}"), "must be a text"));
        };
        params.insert(key, text);
    }
    Ok(params)
}

fn read_kind(field: &str, text: &str) -> Result<SecretKind> {
    text.parse().map_err(|unknown: NotAKind| Error::field(field, unknown.to_string()))
}

impl From<Secret> for SecretOut {
    fn from(secret: Secret) -> Self {
        Self {
            r#type: secret.purpose.kind().into(),
            endpoint: secret.purpose.bound_to().map(ToOwned::to_owned),
            id: secret.id.to_string(),
            access_key: secret.access_key,
            name: secret.name,
            params: secret.params,
            expires_at: secret.expires_at,
        }
    }
}

impl From<SecretKind> for SecretTypeOut {
    fn from(kind: SecretKind) -> Self {
        match kind {
            SecretKind::Aws => Self::Aws,
            SecretKind::Gcp => Self::Gcp,
            SecretKind::Storj => Self::Storj,
            SecretKind::Azure => Self::Azure,
            SecretKind::Url => Self::Url,
            SecretKind::Registry => Self::Registry,
            SecretKind::Other => Self::Other,
        }
    }
}
